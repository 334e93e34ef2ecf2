"""How often something is done that all ranks do together: by the clock, but at a step that each of them knows."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from capetune.training.ranks import Ranks


class Pace:
    """About every so many minutes of an epoch's steps; 0: never. The ranks agree from time to time, at steps 1, 2, 4 …,
    then some times a turn, on how many steps that is, by the slowest of them: asking at each step would cost too much.
    It is due after each step where one alone takes longer."""

    def __init__(self, minutes: float, ranks: Ranks, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self.ranks, self.clock = 60 * minutes, ranks, clock
        self._at, self._then = (0, 0), 0.0  # the last step and when it ended
        self._done, self._next = 0, 1  # steps, and that at which the ranks speak
        self._taken, self._timed = 0.0, 0  # since it was due, or the epoch began: seconds of so many steps
        self._each = 0.0

    def due(self, epoch: int, step: int) -> bool:
        """Told every step, both from 1, by every rank; the same on all."""
        if not self.seconds:
            return False
        now = self.clock()
        if epoch != self._at[0]:
            self._taken, self._timed = 0.0, 0
        if self._at == (epoch, step - 1):
            self._taken += now - self._then
            self._timed += 1
        self._at, self._then = (epoch, step), now
        self._done += 1
        if self._done < self._next:
            return False
        taken = float(np.max(self.ranks.gather(np.array([self._taken]))))
        if self._timed:
            self._each = taken / self._timed
        due = taken + self._each > self.seconds
        if due:
            self._taken, self._timed, taken = 0.0, 0, 0.0
        left = min(self.seconds - taken, self.seconds / 4) / self._each if self._each else self._done
        self._next = self._done + max(1, int(min(left, self._done)))
        return due
