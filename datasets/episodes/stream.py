"""Training batches: WebDataset shards through a readable list of stages, the same number of batches on every rank.

All randomness comes from (seed, epoch, rank, loader worker, pass): an epoch can be repeated exactly, or from any of its
batches on, and no two epochs are alike. Ranks read different shards within a pass, for the shards are permuted before
they are split. What can't be read changes none of it: the next sample comes in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, islice
from typing import Any, BinaryIO

import numpy as np
import webdataset

from capetune.config import DataConfig
from capetune.datasets.episodes.augment import Augmentation, draw
from capetune.datasets.episodes.balance import balanced, rates
from capetune.datasets.episodes.batch import Item, collate, make_item
from capetune.datasets.episodes.loader import Loader, Stream
from capetune.datasets.episodes.quarantine import Quarantine
from capetune.datasets.episodes.supports import TrainSet
from capetune.datasets.packs.reader import Pack, PackAway, PackDamaged, Row, check_readers
from capetune.datasets.packs.threads import ordered
from capetune.pose import Batch, Instance

THREADS = 2  # that decode and warp, in each process that loads: the rest of its work keeps about one core busy
SHUFFLE = 256  # encoded samples a reader holds to draw from; shards are mixed already when they are written

Sample = tuple[Instance, bytes | PackDamaged]  # and its jpg, or why that can't be had
Read = Callable[[Pack, TrainSet, Iterable[int]], Iterator[Sample]]


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
    """One epoch of `train_loader`'s, which ends with it."""
    loader = train_loader(pack, config, batch_size, seed, rank, world)

    def made() -> Iterator[Batch]:
        with closing(loader):
            yield from loader.epoch(epoch, steps)

    return made()


def train_loader(
    pack: Pack,
    config: DataConfig,
    batch_size: int,
    seed: int,
    rank: int = 0,
    world: int = 1,
    pin: bool = False,
    looks: bool = False,
) -> Loader[Batch]:
    """Of batches of `batch_size` train samples of `config.split`, for one rank; pin: as `Loader` has it. looks: with
    the images of supports, each turned and scaled by itself.

    Samples that are no whole picture are left out, `config.max_corrupt` of all. Raises UserError at once where there
    are fewer shards than readers or nothing to train on, and while iterating where more of them are damaged.
    """
    check_readers(pack, world, config.workers)
    stream = TrainStream(pack, TrainSet(pack, config.split), config, batch_size, seed, rank, world, looks)
    # The client of a store has threads, and a fork of it answers nobody.
    return Loader(stream, config.workers, fork=not pack.distant, pin=pin)


class TrainStream(Stream[Batch]):
    """The part of a rank's batches that one loader process makes."""

    def __init__(
        self,
        pack: Pack,
        train: TrainSet,
        config: DataConfig,
        batch_size: int,
        seed: int,
        rank: int,
        world: int,
        looks: bool = False,
    ) -> None:
        super().__init__()
        self.pack, self.train, self.config, self.batch_size, self.looks = pack, train, config, batch_size, looks
        self.seed, self.rank, self.world = seed, rank, world
        self.rates = rates(train)
        self.quarantine = Quarantine(train, config.max_corrupt)

    def share_memory(self) -> None:
        super().share_memory()
        self.quarantine.share_memory()

    def left_out(self) -> np.ndarray:
        return self.quarantine.met()

    def leave_out(self, ids: np.ndarray) -> None:
        self.quarantine.add(ids)

    def made(self, epoch: int, first: int, end: int, worker: int, workers: int) -> Iterator[Batch]:
        """The loader takes from its processes in turn."""
        passed, all = (len(range(worker, number, workers)) for number in (first, end))
        return islice(self.batches(epoch, passed, worker, workers), all - passed)

    def batches(self, epoch: int, passed: int, worker: int, workers: int) -> Iterator[Batch]:
        """Endless, from batch `passed` of this reader on."""
        items = self.items(epoch, passed * self.batch_size, worker, workers)
        while True:
            yield collate(list(islice(items, self.batch_size)))

    def items(self, epoch: int, passed: int, worker: int, workers: int) -> Iterator[Item]:
        """Endless, after the first `passed`, which are drawn but not decoded. What was left out before isn't counted,
        as it wasn't then."""
        for number in count():
            drawn = self.one_pass(epoch, number, worker, workers)
            wanted = (each for each in drawn if each.query.id not in self.quarantine)
            passed -= sum(1 for _ in islice(wanted, passed))
            yield from decode(self.pack, self.train, self.quarantine, self.config.size, 2 * self.batch_size, wanted)

    def one_pass(self, epoch: int, number: int, worker: int, workers: int, read: Read | None = None) -> Iterable[Drawn]:
        """What this reader draws from its share of the shards, each train instance there once, or as often as
        `data.balance` has it. read: `read_shards`, or what stands for it."""
        rng = generator(self.seed, epoch, number, self.rank, worker)
        turns = generator(self.seed, epoch, number, self.rank, worker, 1) if self.looks else None
        return webdataset.DataPipeline(
            partial(shards, self.pack, generator(self.seed, epoch, number)),  # the same for every reader
            partial(every, self.rank, self.world),
            partial(every, worker, workers),
            partial(read or read_shards, self.pack, self.train),
            partial(self.balance, rng),
            partial(shuffle, rng),
            partial(episode, self.train, self.config, rng, turns),
        )

    def balance(self, rng: np.random.Generator, samples: Iterable[Sample]) -> Iterable[Sample]:
        if self.config.balance == "instances":
            return samples
        return balanced(self.rates, lambda sample: sample[0].category_id, rng, samples)


def generator(seed: int, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([seed % 2**64, *numbers])


def shards(pack: Pack, rng: np.random.Generator) -> Iterator[int]:
    """The pack's shards, permuted."""
    return iter(rng.permutation(len(pack.manifest.shards)).tolist())


def every(first: int, step: int, values: Iterable[Any]) -> Iterator[Any]:
    """Split by rank, and by loader worker."""
    return islice(values, first, None, step)


def read_shards(pack: Pack, train: TrainSet, shards: Iterable[int]) -> Iterator[Sample]:
    """Train instances and their jpgs in the order of the shards; what isn't selected is passed over unread. Where a
    shard is missing or damaged, what is wrong with it comes in place of the jpgs. Raises PackAway where a store doesn't
    answer.

    Where each jpg lies is in the pack's index: parsing the tar's headers again would cost a third of decoding. While a
    shard is read, the next one is fetched.
    """

    def opened(shard: int) -> tuple[int, BinaryIO | PackDamaged]:
        try:
            return shard, pack.open_shard(shard)
        except PackAway:
            raise
        except PackDamaged as why:
            return shard, why

    for shard, stream in ordered(opened, shards, threads=1, ahead=1):
        with nullcontext() if isinstance(stream, PackDamaged) else stream:
            for row in pack.in_shard(shard):
                if row.instance.id in train.instances:
                    yield train.instances[row.instance.id], _jpeg(pack, row, stream)


def _jpeg(pack: Pack, row: Row, stream: BinaryIO | PackDamaged) -> bytes | PackDamaged:
    if isinstance(stream, PackDamaged):
        return stream
    try:
        stream.seek(row.offset)
        return stream.read(row.length)
    except OSError as error:
        where = f"{pack.address}/{pack.manifest.shards[row.shard].name}"
        return PackDamaged(f"{where} can't be read ({error}): copy the pack again or make it anew")


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


@dataclass(frozen=True, eq=False)
class Drawn:
    """A sample of which all is decided and nothing drawn yet: so that threads may do it in any order."""

    query: Instance
    jpeg: bytes | PackDamaged
    template: np.ndarray
    known: np.ndarray
    augmentation: Augmentation
    supports: tuple[tuple[Instance, Augmentation], ...]  # that are looked at


def episode(
    train: TrainSet,
    config: DataConfig,
    rng: np.random.Generator,
    turns: np.random.Generator | None,
    samples: Iterable[Sample],
) -> Iterator[Drawn]:
    """Add a template of other instances of the category, and how to turn, scale and mirror; turns: of its supports too,
    drawn apart, so that queries and templates are those that a model sees which doesn't look at images of supports."""
    for query, jpeg in samples:
        flippable, supports = query.category_id in train.flippable, train.supports(query, config.shots, rng)
        seen = () if turns is None else tuple((each, draw(turns, config, flippable)) for each in supports)
        yield Drawn(query, jpeg, *train.mean(supports), draw(rng, config, flippable), seen)


def decode(
    pack: Pack, train: TrainSet, quarantine: Quarantine, size: int, ahead: int, samples: Iterable[Drawn]
) -> Iterator[Item]:
    """Decode and warp, `ahead` of what is asked for: while a batch is trained on, the next ones are made. What can't be
    decoded is left out, and the next one comes in its place."""

    def item(drawn: Drawn) -> Item | None:
        query = drawn.query
        if isinstance(drawn.jpeg, PackDamaged):
            quarantine.leave_out(query.id, drawn.jpeg)
            return None
        try:
            crop = pack.decode(pack.row(query.id), drawn.jpeg, size)
        except PackDamaged as why:
            quarantine.leave_out(query.id, why)
            return None
        category = train.categories[query.category_id]
        made = make_item(category, query, crop, drawn.template, drawn.known, size, drawn.augmentation)
        return replace(made, supports=tuple(support(made, *each) for each in drawn.supports))

    def support(query: Item, instance: Instance, augmentation: Augmentation) -> Item:
        category = train.categories[instance.category_id]
        try:
            crop = pack.crop(instance.id, size)
        except PackDamaged as why:
            if pack.distant:  # it may be the store that doesn't answer
                raise
            # Its keypoints are as if they were hidden; the query is trained on all the same.
            quarantine.leave_out(instance.id, why)
            return replace(query, image=np.zeros_like(query.image), visible=np.zeros_like(query.visible))
        return make_item(category, instance, crop, query.template, query.template_known, size, augmentation)

    return (made for made in ordered(item, samples, THREADS, ahead) if made is not None)
