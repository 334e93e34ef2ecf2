"""Batches on their way to the device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from capetune.config import Config
from capetune.datasets.episodes.loader import Loader
from capetune.datasets.episodes.stream import train_loader
from capetune.datasets.episodes.supports import TrainSet
from capetune.datasets.packs.reader import Pack
from capetune.models.backbone import Maps
from capetune.models.execution import padded_size
from capetune.pose import Batch
from capetune.training.features import Features
from capetune.training.laps import Laps
from capetune.training.ranks import Ranks

MOST = 8  # loader processes beside a GPU: 2.5 ms an image, four hundred images a second each


class Feed:
    """Gives each epoch's batches on the rank's device, with the maps that are kept for them, if any."""

    def __init__(self, pack: Pack, config: Config, ranks: Ranks, features: Features | None, padded: bool) -> None:
        """padded: to few numbers of keypoints."""
        config = config.with_overrides({"data.workers": loader_processes(pack, config, ranks)})
        self._device, self._padded = torch.device(ranks.device), padded
        gpu, size = self._device.type == "cuda", config.train.batch_size
        self._copies = torch.cuda.Stream(self._device) if gpu else None
        self._loader: Loader[Any] = (
            train_loader(pack, config.data, size, config.seed, ranks.rank, ranks.world, gpu, config.model.support.looks)
            if features is None
            else features.loader(TrainSet(pack, config.data.split), config, ranks.rank, ranks.world, pin=gpu)
        )

    def __call__(self, epoch: int, end: int, laps: Laps, first: int = 0) -> Iterator[tuple[Batch, Maps]]:
        """An epoch's batches from `first` on and before `end`. A GPU copies on a stream of its own, while it still
        works on the step before; from pinned memory nobody waits. laps: told what went by until a batch was made, and
        until it was there: on a GPU as far as the step before didn't hide that."""
        for made in self._loader.epoch(epoch, end, first):
            laps.mark("data")
            batch, maps = (made, ()) if isinstance(made, Batch) else made
            with torch.cuda.stream(self._copies):
                there = batch.to(self._device), tuple(seen.to(self._device, non_blocking=True) for seen in maps)
                if self._padded:  # there: padded here it would be in pinned memory no longer
                    there = there[0].padded(len(batch), padded_size(batch.joints.shape[1])), there[1]
            if self._copies is not None:
                now = torch.cuda.current_stream(self._device)
                now.wait_stream(self._copies)
                for tensor in (*there[0].tensors(), *there[1]):
                    tensor.record_stream(now)
            laps.mark("copy")
            yield there

    def left_out(self) -> np.ndarray:
        """Ids, int64, of the samples that this rank has left out so far, for they can't be read."""
        return self._loader.left_out()

    def leave_out(self, ids: np.ndarray) -> None:
        """What this rank had left out in an earlier process, int64, is left out again."""
        self._loader.leave_out(ids)

    def close(self) -> None:
        """End the loader's processes."""
        self._loader.close()


def loader_processes(pack: Pack, config: Config, ranks: Ranks) -> int:
    """What `data.workers` means: auto is none on a CPU, whose cores train; beside a GPU a process for each CPU that the
    worker has but its own, as far as there are shards for them."""
    if config.data.workers != "auto":
        return config.data.workers
    if torch.device(ranks.device).type == "cpu":
        return 0
    return max(0, min(MOST, ranks.cpus - 1, len(pack.manifest.shards) // ranks.world))
