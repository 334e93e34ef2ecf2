"""The pictures evaluation looks at: official crops of given instances, nothing drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from capetune.datasets.episodes.batch import stack_images
from capetune.datasets.packs.crop import invert, source_to_unit, warp_crop
from capetune.datasets.packs.reader import Pack
from capetune.pose import Instance


def encode_queries(pack: Pack, instances: Sequence[Instance], size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Un-augmented official crops, in the order given.

    Returns the images, uint8 (N, 3, size, size) RGB, and to_source, float64 (N, 2, 3), from [0, 1] of each crop to its
    source pixels. KeyError where an instance isn't packed, UserError where its pixels are damaged.
    """
    affines = [source_to_unit(instance.box) for instance in instances]
    images = [
        warp_crop(pack.crop(instance.id, size), to_unit, size)
        for instance, to_unit in zip(instances, affines, strict=True)
    ]
    return stack_images(images), torch.from_numpy(np.stack([invert(affine) for affine in affines]))
