"""An epoch that is under way: what it goes on from is kept in its middle, now and then and when a machine is about to
go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from capetune.training.checkpoint import Drawing, Shape, load_under_way, save_under_way
from capetune.training.ranks import Ranks

State = dict[str, Any]


@dataclass
class UnderWay:
    """folder: the training's, None where nothing was kept. due: told every step, on every rank, and the same on all:
    whether it is to be kept. leaving: the ids of the machines that are known to go soon. keep: given a function that
    keeps the epoch in a folder, its number (from 1), the step, and whether it is since a machine is about to go. The
    default never keeps any.
    """

    folder: Path | None = None
    due: Callable[[int, int], bool] = lambda epoch, step: False
    leaving: Callable[[], frozenset[str]] = frozenset
    keep: Callable[[Callable[[Path], None], int, int, bool], None] = lambda save, epoch, step, leaving: None
    known: frozenset[str] = field(default=frozenset(), init=False)

    def look(self, epoch: int, step: int, drawing: Drawing, state: Callable[[bool], State]) -> None:
        """Once for each machine that is about to go, and when it is due, keep the epoch as it is after that step.
        state: told whether all ranks ask for it."""
        now, due = self.leaving(), self.due(epoch, step)
        leaving = not now <= self.known
        self.known |= now
        if due or leaving:
            save = partial(save_under_way, epoch=epoch, step=step, drawing=drawing, state=state(due))
            self.keep(save, epoch, step, leaving)

    def found(self, epoch: int) -> tuple[int, Drawing | None, State]:
        """`load_under_way`."""
        return (0, None, {}) if self.folder is None else load_under_way(self.folder, epoch)


@dataclass(frozen=True)
class Beginning:
    """Where an epoch is taken up. order: the number by which its batches are drawn. first: steps of it that are done.
    begun: those that were done before the first of these batches. state: what to go on from, nothing where `first` is
    0. mine: what this rank alone had; None where the samples that are left aren't those that were to come."""

    order: int
    first: int = 0
    begun: int = 0
    state: State = field(default_factory=dict)
    mine: dict[str, torch.Tensor] | None = None


def beginning(under_way: UnderWay, epoch: int, epochs: int, shape: Shape, ranks: Ranks) -> Beginning:
    """Of that epoch of so many, from what was kept of it.

    Where it was kept by as many ranks, with batches alike, it goes on with the samples that were to come; else those of
    the steps that are left are drawn anew. Where it had another number of steps, as much of it is done. Nothing is,
    where the ranks don't find the same.
    """
    step, drawing, state = under_way.found(epoch)
    begun, order, alike = 0, epoch, False
    if drawing is not None:
        begun, order = drawing["begun"], drawing["order"]
        alike = drawing == {**shape, "order": order, "begun": begun} and "ranks" in state
        step = step * shape["steps"] // drawing["steps"]
    found = ranks.gather(np.array([step, alike], dtype=np.int64))
    if not 0 < step < shape["steps"] or any((each != found[0]).any() for each in found):
        return Beginning(epoch)
    if alike:
        return Beginning(order, step, begun, state, state["ranks"][ranks.rank])
    return Beginning(epoch + step * (epochs + 1), step, step, state)


def rank_states(ranks: Ranks, left_out: np.ndarray) -> list[dict[str, torch.Tensor]]:
    """Of every rank, in their order, what it alone has: the state of its random numbers and, int64, the ids of what it
    has left out. Each rank asks for it."""
    states = [torch.get_rng_state()]
    if torch.device(ranks.device).type == "cuda":
        states.append(torch.cuda.get_rng_state(ranks.device))
    random = ranks.gather(torch.cat(states).numpy().view(np.int64))
    ids = ranks.gather(np.append(left_out, -1))  # a gathered array holds something
    each = zip(random, ids, strict=True)
    return [{"random": torch.from_numpy(some), "left_out": torch.from_numpy(gone[:-1])} for some, gone in each]


def set_random(device: str, state: torch.Tensor) -> None:
    """Go on with the random numbers whose state `rank_states` gave."""
    size = len(torch.get_rng_state())
    random = torch.from_numpy(state.numpy().view(np.uint8))
    torch.set_rng_state(random[:size])
    if torch.device(device).type == "cuda" and len(random) > size:
        torch.cuda.set_rng_state(random[size:], device)
