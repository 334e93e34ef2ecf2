"""Train samples whose pixels, or shards, are spoilt: a few are left out and named, more of them end the training."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from capetune.datasets.episodes.supports import TrainSet
from capetune.datasets.mp100.findings import counted, listed
from capetune.datasets.packs.reader import Pack, PackDamaged


class Quarantine:
    """What one training worker has met; its loader processes share it. Evaluation has none: it never skips."""

    def __init__(self, train: TrainSet, share: float) -> None:
        """share: of the train samples, how many may be left out."""
        self.ids = np.array(list(train.instances), dtype=np.int64)
        self.most = int(share * len(self.ids))
        self._place = {id: place for place, id in enumerate(self.ids.tolist())}
        self._met = torch.zeros(len(self.ids), dtype=torch.uint8)

    def share_memory(self) -> None:
        """Let all processes see it."""
        self._met.share_memory_()

    def __contains__(self, id: int) -> bool:
        return bool(self._met[self._place[id]])

    def add(self, ids: np.ndarray) -> None:
        """Those that an earlier process had left out, int64."""
        self._met[[self._place[id] for id in ids.tolist()]] = 1

    def leave_out(self, id: int, why: PackDamaged) -> None:
        """Raises PackDamaged where it is one too many."""
        self._met[self._place[id]] = 1
        count = int(self._met.sum())
        if count > self.most:
            of = f" ({count} of {len(self.ids)} train samples are, and data.max_corrupt lets {self.most} be left out)"
            raise PackDamaged(f"{why}{of if self.most else ''}")

    def met(self) -> np.ndarray:
        """Ids of those left out, int64, sorted."""
        return np.sort(self.ids[self._met.numpy() == 1])


def left_out_line(pack: Pack, ids: Iterable[int]) -> str:
    """What is left out, with the first samples and their shards."""
    names = [f"{id} ({pack.manifest.shards[pack.row(id).shard].name})" for id in ids]
    what = counted(len(names), "train sample")
    return f"{what} of {pack.address} can't be read, left out of training: {listed(names)}"
