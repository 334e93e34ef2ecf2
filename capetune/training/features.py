"""Maps of a frozen backbone, computed once and kept on disk: trainings on them see no pixels.

Each train instance is kept in several augmented crops, since a model that sees one crop of each learns those by
heart. The maps are float16 in memory-mapped files, which all processes of a machine share through its page cache.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

import numpy as np
import torch

from capetune.config import Config
from capetune.datasets.augment import Augmentation, draw
from capetune.datasets.batch import augmented_to_unit, collate, place_item, stack_images
from capetune.datasets.crop import warp_crop
from capetune.datasets.pack import Pack
from capetune.datasets.stream import generator
from capetune.datasets.supports import TrainSet
from capetune.models.backbone import Backbone, Maps
from capetune.pose import Batch

CHUNK = 64  # crops a forward pass
NO_IMAGE = np.zeros((0, 0, 3), dtype=np.uint8)
MAPS, DRAWS, IDS = "maps-{}.npy", "draws.npy", "ids.npy"


@dataclass(frozen=True, eq=False)
class Features:
    """The stored maps of the N train instances of a split, `copies` crops each.

    maps: for each stride float16 (N, copies, C, h, w). draws: float64 (N, copies, 3), each crop's rotation, scale and
    flip. ids: int64 (N,).
    """

    maps: tuple[np.ndarray, ...]
    draws: np.ndarray
    ids: np.ndarray

    def batches(self, train: TrainSet, config: Config, epoch: int, steps: int) -> Iterator[tuple[Batch, Maps]]:
        """`steps` batches without pixels, images (B, 3, 0, 0), each with what `Backbone.features` gave for them.

        Instances come in an order drawn for the epoch, each once before any twice; crop and template are drawn.
        """
        rng = generator(config.seed, epoch)
        passes = (rng.permutation(len(self.ids)).tolist() for _ in count())
        rows = chain.from_iterable(passes)
        for _ in range(steps):
            chosen = [next(rows) for _ in range(config.train.batch_size)]
            copies = rng.integers(self.draws.shape[1], size=len(chosen)).tolist()
            items = []
            for row, copy in zip(chosen, copies, strict=True):
                query = train.instances[int(self.ids[row])]
                rotation, scale, flip = self.draws[row, copy]
                drawn = Augmentation(rotation, scale, bool(flip))
                pose = train.template(query, config.data.shots, rng)
                items.append(place_item(train.categories[query.category_id], query, NO_IMAGE, *pose, drawn))
            yield collate(items), tuple(torch.from_numpy(maps[chosen, copies]).float() for maps in self.maps)


def keep_features(
    folder: Path,
    pack: Pack,
    config: Config,
    copies: int,
    progress: Callable[[int, int], None] = lambda done, instances: None,
) -> None:
    """Compute and write the maps of the train part of `config.data.split`; `folder` appears only when it is whole.

    progress: called with the instances done and in all. Raises UserError as `TrainSet` and `Backbone` do.
    """
    train, backbone = TrainSet(pack, config.data.split), Backbone(config.model).eval()
    instances = list(train.instances.values())
    rng, size = generator(config.seed, 0), config.data.size
    draws = np.empty((len(instances), copies, 3))
    aside = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    aside.mkdir(parents=True)
    files: list[np.memmap] = []
    per = max(1, CHUNK // copies)
    for begin in range(0, len(instances), per):
        images = []
        for row, query in enumerate(instances[begin : begin + per], start=begin):
            crop = pack.crop(query.id, size)
            for copy in range(copies):
                drawn = draw(rng, config.data, query.category_id in train.flippable)
                draws[row, copy] = drawn.rotation, drawn.scale, drawn.flip
                images.append(warp_crop(crop, augmented_to_unit(query.box, drawn), size))
        with torch.no_grad():
            seen = [maps.half().numpy() for maps in backbone.features(stack_images(images))]
        if not files:
            shapes = [(len(instances), copies, *maps.shape[1:]) for maps in seen]
            files = [_new(aside / MAPS.format(i), shape) for i, shape in enumerate(shapes)]
        for file, maps in zip(files, seen, strict=True):
            file[begin : begin + per] = maps.reshape(-1, copies, *maps.shape[1:])
        progress(min(begin + per, len(instances)), len(instances))
    for file in files:
        file.flush()
    np.save(aside / DRAWS, draws)
    np.save(aside / IDS, np.array([instance.id for instance in instances], dtype=np.int64))
    aside.rename(folder)


def _new(path: Path, shape: tuple[int, ...]) -> np.memmap:
    return np.lib.format.open_memmap(path, "w+", np.float16, shape)


def open_features(folder: Path) -> Features:
    """What `keep_features` wrote."""
    files = sorted(folder.glob(MAPS.format("*")))
    maps = tuple(np.load(file, mmap_mode="r") for file in files)
    return Features(maps, np.load(folder / DRAWS), np.load(folder / IDS))
