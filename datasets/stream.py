"""Training batches: WebDataset shards through a readable list of stages, the same number of batches on every rank.

All randomness comes from (seed, epoch, rank, loader worker, pass): an epoch can be repeated exactly, and no two
epochs are alike. Ranks read different shards within a pass, for the shards are permuted before they are split.
"""

from __future__ import annotations

import math
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import webdataset
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from webdataset.tariterators import group_by_keys, tar_file_expander

from capetune.config import DataConfig
from capetune.datasets.augment import draw
from capetune.datasets.batch import Item, collate, make_item
from capetune.datasets.pack import Pack
from capetune.datasets.supports import TrainSet
from capetune.errors import UserError
from capetune.pose import Batch, Crop, Instance

SHUFFLE = 256  # encoded samples a reader holds to draw from; shards are mixed already when they are written


def steps_per_epoch(instances: int, batch_size: int, world: int) -> int:
    """Steps in which `world` ranks of `batch_size` see about each instance once; at least 1."""
    return max(1, math.ceil(instances / (batch_size * world)))


def check_readers(pack: Pack, ranks: int, workers: int) -> None:
    """Raises UserError where some reader would have no shard of its own: it would wait for ever."""
    shards, readers = len(pack.shard_paths), ranks * max(1, workers)
    if shards < readers:
        detail = f"{ranks} training workers × {max(1, workers)} loader processes"
        cure = f"repack with --shards {readers} or use fewer workers"
        raise UserError(f"{shards} shards can't feed {readers} readers ({detail}): {cure}")


def train_batches(
    pack: Pack,
    config: DataConfig,
    batch_size: int,
    seed: int,
    epoch: int,
    rank: int = 0,
    world: int = 1,
    *,
    steps: int,
) -> Iterator[Batch]:
    """Exactly `steps` batches of `batch_size` train samples of `config.split`, for one rank and epoch.

    Raises UserError at once where there are fewer shards than readers or nothing to train on, and while iterating
    where a shard is damaged.
    """
    check_readers(pack, world, config.workers)
    stream = _Stream(pack, TrainSet(pack, config.split), config, batch_size, seed, epoch, rank, world, steps)
    loader = DataLoader(
        stream,
        batch_size=None,
        num_workers=config.workers,
        generator=torch.Generator(),  # or it would draw from the global one, and workers would change the training
    )
    return _unwrapped(loader)


@dataclass(eq=False)
class _Stream(IterableDataset):
    """The part of a rank's batches that one loader process makes; an error of the data comes as the last item."""

    pack: Pack
    train: TrainSet
    config: DataConfig
    batch_size: int
    seed: int
    epoch: int
    rank: int
    world: int
    steps: int

    def __iter__(self) -> Iterator[Batch | UserError]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        mine = len(range(worker, self.steps, workers))  # the loader takes from its workers in turn
        try:
            yield from islice(self.batches(worker, workers), mine)
        except UserError as error:  # raised here, it would arrive wrapped in a traceback of many lines
            yield error

    def batches(self, worker: int, workers: int) -> Iterator[Batch]:
        """Endless."""
        items = (item for number in count() for item in self.one_pass(number, worker, workers))
        while True:
            yield collate(list(islice(items, self.batch_size)))

    def one_pass(self, number: int, worker: int, workers: int) -> Iterable[Item]:
        """What this reader makes of its share of the shards, each train instance there once."""
        rng = generator(self.seed, self.epoch, number, self.rank, worker)
        size, shots = self.config.size, self.config.shots
        return webdataset.DataPipeline(
            partial(shards, self.pack, generator(self.seed, self.epoch, number)),  # the same for every reader
            partial(every, self.rank, self.world),
            partial(every, worker, workers),
            partial(read_tar, self.train),
            partial(shuffle, rng),
            partial(decode, self.pack, size),
            partial(episode, self.train, shots, rng),
            partial(augment, self.train, self.config, rng),
        )


def generator(seed: int, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([seed % 2**64, *numbers])


def shards(pack: Pack, rng: np.random.Generator) -> Iterator[Path]:
    """The pack's shards, permuted."""
    paths = pack.shard_paths
    return (paths[i] for i in rng.permutation(len(paths)))


def every(first: int, step: int, values: Iterable[Any]) -> Iterator[Any]:
    """Split by rank, and by loader worker."""
    return islice(values, first, None, step)


def read_tar(train: TrainSet, paths: Iterable[Path]) -> Iterator[tuple[Instance, bytes]]:
    """Train instances and their jpgs in the order of the shards; what isn't selected is passed over unread."""

    def selected(name: str) -> bool:
        stem, _, suffix = name.partition(".")
        return suffix == "jpg" and int(stem) in train.instances

    for path in paths:
        try:
            with path.open("rb") as stream:
                files = tar_file_expander([{"url": str(path), "stream": stream}], select_files=selected)
                for sample in group_by_keys(files):
                    yield train.instances[int(sample["__key__"])], sample["jpg"]
        except (tarfile.TarError, OSError) as error:
            raise UserError(f"{path} can't be read ({error}): copy the pack again or make it anew") from None


def shuffle(rng: np.random.Generator, values: Iterable[Any]) -> Iterator[Any]:
    """Mix within a sliding buffer that is emptied at the end, so that a pass stays a pass."""
    buffer: list[Any] = []
    for value in values:
        buffer.append(value)
        if len(buffer) >= SHUFFLE:
            yield _taken(buffer, rng)
    while buffer:
        yield _taken(buffer, rng)


def _taken(buffer: list[Any], rng: np.random.Generator) -> Any:
    i = int(rng.integers(len(buffer)))
    buffer[i], buffer[-1] = buffer[-1], buffer[i]
    return buffer.pop()


def decode(pack: Pack, size: int, samples: Iterable[tuple[Instance, bytes]]) -> Iterator[tuple[Instance, Crop]]:
    for query, jpeg in samples:
        yield query, pack.decode(pack.row(query.id), jpeg, size)


def episode(
    train: TrainSet,
    shots: Sequence[int | Literal["all"]],
    rng: np.random.Generator,
    samples: Iterable[tuple[Instance, Crop]],
) -> Iterator[tuple[Instance, Crop, np.ndarray, np.ndarray]]:
    """Add a template of other instances of the category."""
    for query, crop in samples:
        yield query, crop, *train.template(query, shots, rng)


def augment(
    train: TrainSet,
    config: DataConfig,
    rng: np.random.Generator,
    samples: Iterable[tuple[Instance, Crop, np.ndarray, np.ndarray]],
) -> Iterator[Item]:
    """Turn, scale, mirror, crop."""
    for query, crop, template, known in samples:
        drawn = draw(rng, config, query.category_id in train.flippable)
        yield make_item(train.categories[query.category_id], query, crop, template, known, config.size, drawn)


def _unwrapped(batches: Iterable[Batch | UserError]) -> Iterator[Batch]:
    for batch in batches:
        if isinstance(batch, UserError):
            raise batch
        yield batch
