"""Batches on their way to the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from capetune.config import Config
from capetune.datasets.episodes.stream import train_loader
from capetune.datasets.episodes.supports import TrainSet
from capetune.datasets.packs.reader import Pack
from capetune.models.backbone import Maps
from capetune.models.execution import padded_size
from capetune.pose import Batch
from capetune.training.features import Features
from capetune.training.ranks import Ranks

MOST = 8  # loader processes beside a GPU: 2.5 ms an image, four hundred images a second each

Pairs = Iterator[tuple[Batch, Maps]]


def feeder(
    pack: Pack, config: Config, ranks: Ranks, features: Features | None, padded: bool
) -> Callable[[int, int], Pairs]:
    """A function of an epoch and a number of batches: these, on the rank's device, each with the maps that are kept for
    it, if any. padded: to few numbers of keypoints.

    A GPU copies on a stream of its own, while it still works on the step before; from pinned memory nobody waits.
    """
    workers = loader_processes(pack, config, ranks)
    config = config.with_overrides({"data.workers": workers})
    gpu = torch.device(ranks.device).type == "cuda"
    made: Callable[[int, int], Pairs]
    if features is not None:
        made = features.loader(TrainSet(pack, config.data.split), config, pin=gpu).epoch
    else:
        loader = train_loader(pack, config.data, config.train.batch_size, config.seed, ranks.rank, ranks.world, pin=gpu)

        def made(epoch: int, steps: int) -> Pairs:
            return ((batch, ()) for batch in loader.epoch(epoch, steps))

    def feed(epoch: int, steps: int) -> Pairs:
        copies = torch.cuda.Stream(ranks.device) if gpu else None
        for batch, maps in made(epoch, steps):
            if padded:
                batch = batch.padded(len(batch), padded_size(batch.joints.shape[1]))
            with torch.cuda.stream(copies):
                there = batch.to(ranks.device), tuple(seen.to(ranks.device, non_blocking=True) for seen in maps)
            if copies is not None:
                now = torch.cuda.current_stream(copies.device)
                now.wait_stream(copies)
                for tensor in (*there[0].tensors(), *there[1]):
                    tensor.record_stream(now)
            yield there

    return feed


def loader_processes(pack: Pack, config: Config, ranks: Ranks) -> int:
    """What `data.workers` means: auto is none on a CPU, whose cores train; beside a GPU a process for each CPU that the
    worker has but its own, as far as there are shards for them."""
    if config.data.workers != "auto":
        return config.data.workers
    if torch.device(ranks.device).type == "cpu":
        return 0
    return max(0, min(MOST, ranks.cpus - 1, len(pack.manifest.shards) // ranks.world))
