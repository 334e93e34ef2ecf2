"""Maps of a frozen backbone, computed once and kept on disk: trainings on them see no pixels.

Each train instance is kept in several augmented crops, since a model that sees one crop of each learns those by
heart. The maps are float16 in memory-mapped files, which all processes of a machine share through its page cache.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from capetune.config import Config
from capetune.datasets.episodes.augment import Augmentation, draw
from capetune.datasets.episodes.balance import balanced, rates
from capetune.datasets.episodes.batch import Item, augmented_to_unit, collate, place_item, stack_images
from capetune.datasets.episodes.loader import Loader, Stream
from capetune.datasets.episodes.queries import query_images, stored_crops
from capetune.datasets.episodes.stream import generator
from capetune.datasets.episodes.supports import TrainSet
from capetune.datasets.packs.crop import warp_crop
from capetune.datasets.packs.reader import Pack
from capetune.errors import UserError
from capetune.models.backbone import Backbone, Maps
from capetune.models.looks import averaged, read
from capetune.pose import Batch, Instance
from capetune.storage.whole import whole

CHUNK = 64  # crops a forward pass
# What kept maps hold fast.
FIXED = (
    "model.backbone.",
    "data.split",
    "data.size",
    "data.rotation",
    "data.scale",
    "data.flip",
    "train.backbone_rate",
)
NO_IMAGE = np.zeros((0, 0, 3), dtype=np.uint8)
MAPS, DRAWS, IDS = "maps-{}.npy", "draws.npy", "ids.npy"
VAL = "val"  # the folder of the validation part's maps
OF = "of.json"  # what they were made of


@dataclass(frozen=True, eq=False)
class Features:
    """The stored maps of the N train instances of a split, `copies` crops each, and of its M val instances as they are.

    maps: for each stride float16 (N, copies, C, h, w). draws: float64 (N, copies, 3), each crop's rotation, scale and
    flip. ids: int64 (N,). val: for each stride float16 (M, C, h, w). val_rows: id → row.
    """

    maps: tuple[np.ndarray, ...]
    draws: np.ndarray
    ids: np.ndarray
    val: tuple[np.ndarray, ...]
    val_rows: dict[int, int]

    def at(self, rows: Sequence[int], copies: Sequence[int]) -> Maps:
        """What `Backbone.features` gave for crops of train instances."""
        return tuple(torch.from_numpy(maps[list(rows), list(copies)]) for maps in self.maps)

    def validation(self, instances: Sequence[Instance]) -> Maps:
        """What `Backbone.features` gave for val instances."""
        rows = [self.val_rows[instance.id] for instance in instances]
        return tuple(torch.from_numpy(maps[rows]) for maps in self.val)

    def loader(
        self, train: TrainSet, config: Config, rank: int = 0, world: int = 1, pin: bool = False
    ) -> Loader[tuple[Batch, Maps]]:
        """Of batches without pixels, images (B, 3, 0, 0), each with what `Backbone.features` gave for them; pin: as
        `Loader` has it.

        Instances come in an order drawn for the epoch, each once before any twice on all ranks together, or as
        `data.balance` has it; crop and template are drawn.
        """
        return Loader(_Batches(self, train, config, rank, world), config.data.workers, pin=pin)


class _Batches(Stream[tuple[Batch, Maps]]):
    """The part of an epoch's batches that one loader process makes; they are the same however many there are."""

    def __init__(self, features: Features, train: TrainSet, config: Config, rank: int, world: int) -> None:
        super().__init__()
        self.features, self.train, self.config = features, train, config
        self.rank, self.world = rank, world
        self.rows = {id: row for row, id in enumerate(features.ids.tolist())}

    def made(self, epoch: int, first: int, end: int, worker: int, workers: int) -> Iterator[tuple[Batch, Maps]]:
        order, size = generator(self.config.seed, epoch), self.config.train.batch_size
        rows = chain.from_iterable(self._pass(order) for _ in count())
        mine = [self.rank] if self.world > 1 else []
        for step in range(end):
            chosen = list(islice(rows, size * self.world))[self.rank * size : (self.rank + 1) * size]
            if step >= first and step % workers == worker:
                yield self._batch(chosen, generator(self.config.seed, epoch, step, *mine))

    def _pass(self, rng: np.random.Generator) -> list[int]:
        """Each row once, or as often as `data.balance` has it, mixed."""
        rows = rng.permutation(len(self.features.ids))
        if self.config.data.balance == "categories":
            of = [self.train.instances[id].category_id for id in self.features.ids.tolist()]
            rows = rng.permutation(list(balanced(rates(self.train), of.__getitem__, rng, rows.tolist())))
        chosen: list[int] = rows.tolist()
        return chosen

    def _batch(self, rows: list[int], rng: np.random.Generator) -> tuple[Batch, Maps]:
        copies = rng.integers(self.features.draws.shape[1], size=len(rows)).tolist()
        items, seen = [], []
        for row, copy in zip(rows, copies, strict=True):
            supports = self.train.supports(self._instance(row), self.config.data.shots, rng)
            item = self._item(row, copy, *self.train.mean(supports))
            if self.config.model.support.looks:
                crops = rng.integers(self.features.draws.shape[1], size=len(supports)).tolist()
                chosen = [(self.rows[support.id], crop) for support, crop in zip(supports, crops, strict=True)]
                places = [self._item(*each, item.template, item.template_known) for each in chosen]
                item = replace(item, supports=tuple(places))
                seen += chosen
            items.append(item)
        batch = collate(items)
        if seen:
            batch = _looked(batch, [len(item.supports) for item in items], self.features.at(*zip(*seen, strict=True)))
        return batch, self.features.at(rows, copies)

    def _instance(self, row: int) -> Instance:
        return self.train.instances[int(self.features.ids[row])]

    def _item(self, row: int, copy: int, template: np.ndarray, known: np.ndarray) -> Item:
        """A kept crop, without its pixels."""
        instance = self._instance(row)
        rotation, scale, flip = self.features.draws[row, copy]
        drawn = Augmentation(rotation, scale, bool(flip))
        return place_item(self.train.categories[instance.category_id], instance, NO_IMAGE, template, known, drawn)


def _looked(batch: Batch, counts: Sequence[int], maps: Maps) -> Batch:
    """With how its supports look, averaged, in place of their images. counts: supports of each sample. maps: of all of
    them, sample after sample."""
    xy, visible = batch.support_xy, batch.support_visible
    assert xy is not None
    assert visible is not None
    real = torch.arange(visible.shape[1]) < torch.tensor(counts).unsqueeze(1)
    found = read(maps, xy[real])
    looks = found.new_zeros(*visible.shape, found.shape[-1])
    looks[real] = found
    mean = averaged(looks, visible)
    seen = {"support_visible": mean.seen.unsqueeze(1), "support_looks": mean.mean.unsqueeze(1)}
    return replace(batch, **seen, support_xy=None, support_images=None)


def keep_features(
    folder: Path,
    pack: Pack,
    config: Config,
    copies: int,
    progress: Callable[[int, int], None] = lambda done, instances: None,
    device: torch.device | str = "cpu",
) -> None:
    """Compute, on `device`, and write the maps of the train and val parts of `config.data.split`; `folder` appears when
    it is whole.

    progress: called with the train instances done and in all. Raises UserError as `TrainSet` and `Backbone` do.
    """
    train, backbone = TrainSet(pack, config.data.split), Backbone(config.model).eval().to(device)
    instances = list(train.instances.values())
    val = [instance for group in pack.part(config.data.split, "val").instances.values() for instance in group]
    rng, size = generator(config.seed, 0), config.data.size
    draws = np.empty((len(instances), copies, 3))
    per = max(1, CHUNK // copies)

    threads = torch.get_num_threads()

    def crops() -> Iterator[torch.Tensor]:
        stored = stored_crops(pack, instances, size, threads, 2 * per)
        for begin in range(0, len(instances), per):
            images = []
            for row, query in enumerate(instances[begin : begin + per], start=begin):
                crop = next(stored)
                for copy in range(copies):
                    drawn = draw(rng, config.data, query.category_id in train.flippable)
                    draws[row, copy] = drawn.rotation, drawn.scale, drawn.flip
                    images.append(warp_crop(crop, augmented_to_unit(query.box, drawn), size))
            yield stack_images(images)
            progress(min(begin + per, len(instances)), len(instances))

    def plain() -> Iterator[torch.Tensor]:
        images = query_images(pack, val, size, threads, 2 * CHUNK)
        while some := list(islice(images, CHUNK)):
            yield stack_images(some)

    with whole(folder) as aside:
        _write(aside, backbone, crops(), (len(instances), copies), instances)
        np.save(aside / DRAWS, draws)
        (aside / VAL).mkdir()
        _write(aside / VAL, backbone, plain(), (len(val),), val)
        (aside / OF).write_text(json.dumps(_made_of(pack, config, copies), indent=2) + "\n")


def _write(
    folder: Path, backbone: Backbone, images: Iterator[torch.Tensor], lead: tuple[int, ...], instances: list[Instance]
) -> None:
    """The maps of all images into a folder, as arrays of shape (*lead, C, h, w), and the instances' ids."""
    files: list[np.memmap] = []
    done = 0
    for chunk in images:
        with torch.no_grad():
            seen = [maps.half().cpu().numpy() for maps in backbone.features(chunk.to(backbone.mean.device))]
        seen = [maps.reshape(-1, *lead[1:], *maps.shape[1:]) for maps in seen]
        if not files:
            shapes = [(*lead, *maps.shape[len(lead) :]) for maps in seen]
            paths = [folder / MAPS.format(i) for i in range(len(seen))]
            files = [
                np.lib.format.open_memmap(path, "w+", np.float16, shape)
                for path, shape in zip(paths, shapes, strict=True)
            ]
        for file, maps in zip(files, seen, strict=True):
            file[done : done + len(maps)] = maps
        done += len(seen[0])
    for file in files:
        file.flush()
    np.save(folder / IDS, np.array([instance.id for instance in instances], dtype=np.int64))


def open_features(folder: Path) -> Features:
    """What `keep_features` wrote."""
    maps, val = (
        tuple(np.load(file, mmap_mode="r") for file in sorted(place.glob(MAPS.format("*"))))
        for place in (folder, folder / VAL)
    )
    rows = {int(id): row for row, id in enumerate(np.load(folder / VAL / IDS))}
    return Features(maps, np.load(folder / DRAWS), np.load(folder / IDS), val, rows)


def _made_of(pack: Pack, config: Config, copies: int) -> dict[str, Any]:
    """All that decides them, but for the seed: one draw of crops is as good as another."""
    settings = config.data.model_dump(mode="json", include={"split", "size", "rotation", "scale", "flip"})
    backbone = config.model.backbone.model_dump(mode="json", exclude={"precision"})
    return {"data_hash": pack.fingerprint, "copies": copies, **settings, "backbone": backbone}


def check_features(folder: Path, pack: Pack, config: Config, copies: int) -> None:
    """Raises UserError where a folder's features aren't those that `keep_features` would write."""
    try:
        kept = json.loads((folder / OF).read_text())
    except (OSError, ValueError):
        raise UserError(f"{folder} holds no kept features; give another folder, or none") from None
    wanted = _made_of(pack, config, copies)
    other = [key for key in wanted if kept.get(key) != wanted[key]]
    if other:
        raise UserError(f"the features in {folder} are of another {' and '.join(other)}; give another folder, or none")


def feature_bytes(pack: Pack, config: Config, copies: int) -> int:
    """How much room `keep_features` takes."""
    size = config.data.size
    with torch.no_grad():
        seen = Backbone(config.model, pretrained=False).eval().features(torch.zeros((1, 3, size, size)))
    one = sum(maps.numel() * 2 for maps in seen)
    train, val = (len(pack.part(config.data.split, part)) for part in ("train", "val"))
    return one * (train * copies + val)


def check_keepable(config: Config, keys: Iterable[str]) -> None:
    """Raises UserError where maps kept for `config` would be wrong for trainings that vary `keys`."""
    if config.model.backbone.frozen != "all":
        raise UserError(
            "features can be kept of a frozen backbone only: --set model.backbone.frozen=all, or search without them"
        )
    for key in keys:
        if key.startswith(FIXED):
            raise UserError(f"{key} changes what the backbone sees or gives: kept features would be wrong for it")
