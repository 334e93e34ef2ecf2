"""What a training would read of a pack, before any is begun: the stream's own code, run without its pixels."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, combinations, count, islice
from typing import Any, Literal

import numpy as np

from capetune.config import DataConfig
from capetune.datasets.episodes.steps import steps_per_epoch
from capetune.datasets.episodes.stream import Sample, TrainStream, every, generator, shards
from capetune.datasets.episodes.supports import TrainSet
from capetune.datasets.packs.reader import Pack, check_readers

Balance = Literal["instances", "categories"]


@dataclass(frozen=True)
class Planned:
    """One epoch. steps: the fewest and the most of a rank; of a reader's first pass, shards and samples likewise.

    once, again, never: samples that are trained on once, more than once and not at all. often: how many samples of a
    category, the fewest and the most. entropy, ideal: bits, means of
    the categories in a batch, and of batches out of one shuffled heap of all samples. alike: pairs of ranks that see
    the same, and ranks that see what they saw in the epoch before, in the same order.
    """

    epoch: int
    steps: tuple[int, int]
    shards: tuple[int, int]
    samples: tuple[int, int]
    once: int
    again: int
    never: int
    often: tuple[int, int]
    entropy: float
    ideal: float
    alike: int


@dataclass(frozen=True)
class Plan:
    """batch: samples a rank and step. samples, categories: that are trained on. lonely: categories that aren't, having
    one sample each. balance: as `data.balance`. surplus: samples that the last step's batches take of a second pass."""

    pack: str
    split: int
    ranks: int
    loaders: int
    batch: int
    shards: int
    samples: int
    categories: int
    lonely: int
    balance: Balance
    surplus: int
    epochs: tuple[Planned, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def plan(
    pack: Pack,
    split: int,
    ranks: int,
    loaders: int,
    batch: int,
    seed: int,
    epochs: int = 2,
    balance: Balance = "instances",
) -> Plan:
    """Of the first epochs of a training with so many ranks, each with so many loader processes, 0: none.

    Raises UserError, as the training would, where a reader would have no shard or there is nothing to train on.
    """
    check_readers(pack, ranks, loaders)
    part, train, config = pack.part(split, "train"), TrainSet(pack, split), DataConfig(split=split, balance=balance)
    steps = steps_per_epoch(len(part), batch, ranks)
    streams = [_Unread(pack, train, config, batch, seed, rank, ranks) for rank in range(ranks)]
    planned: list[Planned] = []
    before: list[list[int]] = []
    for epoch in range(1, epochs + 1):
        seen = [stream.epoch(epoch, steps, max(1, loaders)) for stream in streams]
        flat = [list(chain.from_iterable(batches)) for batches in seen]
        times = Counter(chain.from_iterable(flat))
        shares = [share for stream in streams for share in stream.shares(epoch, max(1, loaders))]
        of = [[train.instances[id].category_id for id in some] for some in chain.from_iterable(seen)]
        drawn = Counter(chain.from_iterable(of))
        alike = sum(one == other for one, other in [*combinations(flat, 2), *zip(flat, before, strict=False)])
        planned.append(
            Planned(
                epoch,
                _ends(map(len, seen)),
                _ends(len(share) for share in shares),
                _ends(sum(_trained(pack, train, shard) for shard in share) for share in shares),
                sum(number == 1 for number in times.values()),
                sum(number > 1 for number in times.values()),
                len(train) - len(times),
                _ends(drawn[id] for id in train.categories),
                _bits(of),
                _bits(_shuffled(streams[0], batch, len(of), generator(seed, epoch))),
                alike,
            )
        )
        before = flat
    surplus = steps * ranks * batch - len(train)
    found = (len(pack.manifest.shards), len(train), len(train.categories), len(train.lonely), balance, surplus)
    return Plan(pack.address, split, ranks, loaders, batch, *found, tuple(planned))


class _Unread(TrainStream):
    """A rank's stream, of which nothing is read."""

    def epoch(self, epoch: int, steps: int, workers: int) -> list[list[int]]:
        """The ids of its batches, as the loader takes them from its processes in turn."""
        each = [self._ids(epoch, worker, workers) for worker in range(workers)]
        return [list(islice(each[step % workers], self.batch_size)) for step in range(steps)]

    def _ids(self, epoch: int, worker: int, workers: int) -> Iterator[int]:
        for number in count():
            for drawn in self.one_pass(epoch, number, worker, workers, _listed):
                yield drawn.query.id

    def shares(self, epoch: int, workers: int) -> list[list[int]]:
        """The shards of its processes' first pass."""
        mine = [every(self.rank, self.world, shards(self.pack, generator(self.seed, epoch, 0))) for _ in range(workers)]
        return [list(every(worker, workers, share)) for worker, share in enumerate(mine)]


def _listed(pack: Pack, train: TrainSet, shards: Iterable[int]) -> Iterator[Sample]:
    """As `read_shards`, without the bytes."""
    for shard in shards:
        for row in pack.in_shard(shard):
            if row.instance.id in train.instances:
                yield train.instances[row.instance.id], b""


def _trained(pack: Pack, train: TrainSet, shard: int) -> int:
    return sum(row.instance.id in train.instances for row in pack.in_shard(shard))


def _ends(values: Iterable[int]) -> tuple[int, int]:
    found = list(values)
    return min(found), max(found)


def _shuffled(stream: TrainStream, batch: int, batches: int, rng: np.random.Generator) -> list[list[int]]:
    """The categories of so many batches out of one heap."""
    every: list[Sample] = [(instance, b"") for instance in stream.train.instances.values()]

    def one_pass() -> list[int]:
        of = np.array([instance.category_id for instance, _ in stream.balance(rng, every)])
        heap: list[int] = of[rng.permutation(len(of))].tolist()
        return heap

    heap = chain.from_iterable(one_pass() for _ in count())
    return [list(islice(heap, batch)) for _ in range(batches)]


def _bits(batches: list[list[int]]) -> float:
    """The mean entropy of the categories of a batch."""

    def one(batch: list[int]) -> float:
        shares = [number / len(batch) for number in Counter(batch).values()]
        return -sum(share * math.log2(share) for share in shares)

    return sum(map(one, batches)) / len(batches)
