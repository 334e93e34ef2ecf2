"""Which samples each step of a training has seen, in its folder: of the steps that are in its weights, no others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from capetune.errors import UserError
from capetune.pose import Batch
from capetune.storage.whole import pour

LEDGER = "ledger.jsonl"

Maps = TypeVar("Maps")


class Ledger:
    """A line a step: {"epoch", "step", "ids"}, both from 1; ids: of its instances, a list for each rank."""

    def __init__(
        self,
        folder: Path,
        rank: int = 0,
        gather: Callable[[np.ndarray], list[np.ndarray]] = lambda array: [array],
    ) -> None:
        """gather: gives every rank each rank's array; rank 0 writes."""
        self.folder, self.rank, self.gather = folder, rank, gather
        self._taken: list[np.ndarray] = []

    def begin(self, epoch: int, step: int) -> None:
        """Forget what came after that step of that epoch: it is trained again. Raises UserError as `read_ledger`."""
        if self.rank:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = (_line(*row) for row in read_ledger(self.folder) if row[:2] <= (epoch, step))
        pour(map(str.encode, kept), self.folder / LEDGER)

    def tap(self, batches: Iterable[tuple[Batch, Maps]]) -> Iterator[tuple[Batch, Maps]]:
        """The batches, of which the next `add` tells."""
        for batch, maps in batches:
            self._taken.append(batch.ids.cpu().numpy())
            yield batch, maps

    def add(self, epoch: int, step: int) -> None:
        """A step was done, on every rank."""
        ids = self.gather(np.concatenate(self._taken))
        self._taken.clear()
        if self.rank == 0:
            with (self.folder / LEDGER).open("a") as stream:
                stream.write(_line(epoch, step, [each.tolist() for each in ids]))


def _line(epoch: int, step: int, ids: Sequence[Sequence[int]]) -> str:
    return json.dumps({"epoch": epoch, "step": step, "ids": ids}) + "\n"


def read_ledger(folder: Path) -> Iterator[tuple[int, int, list[list[int]]]]:
    """Epoch, step and ids of each step; nothing where there is no ledger. A last line that was cut counts for none.
    Raises UserError where another is none."""
    file = folder / LEDGER
    if not file.is_file():
        return
    with file.open(errors="replace") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.endswith("\n"):
                return
            try:
                row = json.loads(line)
                yield int(row["epoch"]), int(row["step"]), [[int(id) for id in ids] for ids in row["ids"]]
            except (ValueError, TypeError, KeyError):
                raise UserError(f"{file}, line {number} is no step of a training; remove the file") from None
