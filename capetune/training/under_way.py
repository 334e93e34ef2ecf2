"""An epoch that is under way when a machine is about to go: what it goes on from is kept in its middle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from capetune.training.checkpoint import load_under_way, save_under_way


@dataclass
class UnderWay:
    """folder: the training's, None where nothing was kept. leaving: the ids of the machines that are known to go soon.
    keep: given a function that keeps the epoch in a folder, its number (from 1) and the step. The default never keeps
    any.
    """

    folder: Path | None = None
    leaving: Callable[[], frozenset[str]] = frozenset
    keep: Callable[[Callable[[Path], None], int, int], None] = lambda save, epoch, step: None
    known: frozenset[str] = field(default=frozenset(), init=False)

    def look(self, epoch: int, step: int, state: Callable[[], dict[str, Any]]) -> None:
        """Once for each machine that is about to go, keep the epoch as it is after that step."""
        now = self.leaving()
        if not now <= self.known:
            self.known |= now
            self.keep(partial(save_under_way, epoch=epoch, step=step, state=state()), epoch, step)

    def found(self, epoch: int) -> tuple[int, dict[str, Any]]:
        """`load_under_way`."""
        return (0, {}) if self.folder is None else load_under_way(self.folder, epoch)
