"""How often something is done that all ranks do together: by the clock, but at a step that each of them knows."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from capetune.training.ranks import Ranks


class Pace:
    """About every so many minutes of steps; 0: never. The ranks agree from time to time, at steps 1, 2, 4 …, then some
    times a turn, on how many steps that is, by the slowest of them: asking at each step would cost too much."""

    def __init__(self, minutes: float, ranks: Ranks, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self.ranks, self.clock = 60 * minutes, ranks, clock
        self._at, self._then = (0, 0), 0.0  # the last step and when it ended
        self._done, self._next = 0, 1  # steps, and that at which the ranks speak
        self._taken, self._timed = 0.0, 0  # since it was due: seconds of so many steps

    def due(self, epoch: int, step: int) -> bool:
        """Told every step, both from 1, by every rank; the same on all."""
        if not self.seconds:
            return False
        now = self.clock()
        if self._at == (epoch, step - 1):
            self._taken += now - self._then
            self._timed += 1
        self._at, self._then = (epoch, step), now
        self._done += 1
        if self._done < self._next:
            return False
        taken = float(np.max(self.ranks.gather(np.array([self._taken]))))
        each = taken / max(1, self._timed)
        due = taken + each > self.seconds
        if due:
            self._taken, self._timed, taken = 0.0, 0, 0.0
        left = min(self.seconds - taken, self.seconds / 4) / each if each else self._done
        self._next = self._done + max(1, int(min(left, self._done)))
        return due
