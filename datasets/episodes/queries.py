"""The pictures evaluation looks at: official crops of given instances, nothing drawn at random."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from functools import partial

import numpy as np
import torch

from capetune.datasets.episodes.batch import stack_images
from capetune.datasets.packs.crop import invert, source_to_unit, warp_crop
from capetune.datasets.packs.reader import Pack
from capetune.datasets.packs.threads import ordered
from capetune.pose import Crop, Instance

REQUESTS = 16  # to a store at once


def encode_queries(pack: Pack, instances: Sequence[Instance], size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Un-augmented official crops, in the order given.

    Returns the images, uint8 (N, 3, size, size) RGB, and to_source, float64 (N, 2, 3), from [0, 1] of each crop to its
    source pixels. KeyError where an instance isn't packed, UserError where its pixels are damaged.
    """
    images = [_crop(pack, size, instance) for instance in instances]
    return stack_images(images), torch.from_numpy(
        np.stack([invert(source_to_unit(instance.box)) for instance in instances])
    )


def query_images(
    pack: Pack, instances: Iterable[Instance], size: int, threads: int, ahead: int
) -> Generator[np.ndarray]:
    """The same images one by one, uint8 (size, size, 3) RGB, up to `ahead` of them made before they are asked for.

    threads: that decode; of a distant pack at least as many as hide the way there. Errors as in `encode_queries`, in
    the image's place.
    """
    yield from ordered(partial(_crop, pack, size), instances, _at_once(pack, threads), ahead)


def stored_crops(pack: Pack, instances: Iterable[Instance], size: int, threads: int, ahead: int) -> Generator[Crop]:
    """What `Pack.crop` gives for them, in order, up to `ahead` of them read before they are asked for."""
    yield from ordered(lambda instance: pack.crop(instance.id, size), instances, _at_once(pack, threads), ahead)


def _at_once(pack: Pack, threads: int) -> int:
    return max(threads, REQUESTS) if pack.distant else threads


def _crop(pack: Pack, size: int, instance: Instance) -> np.ndarray:
    return warp_crop(pack.crop(instance.id, size), source_to_unit(instance.box), size)
