"""When a search ends before its trials are through."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ray import tune

from capetune.tuning.limits import measured_excess, over
from capetune.tuning.space import Budget

ENOUGH = 3  # trials on end that failed of the same


@dataclass
class Limit(tune.Stopper):
    """Ends a search when its hours or its epochs are spent, the disk is full, or every trial fails; and a trial whose
    first epoch is over a limit. Tune calls it with every result.

    spent: epochs so far, those of earlier sittings too.
    """

    budget: Budget
    spent: int = 0
    begun: float = field(default_factory=time.time)
    full: bool = False  # the disk is
    away: str = ""  # why the store of the run can't be written, or the pack be read
    broken: str = ""  # why all trials will fail, as far as one can tell
    failed: tuple[str, ...] = ()  # of what the latest trials failed, since one didn't
    limits: Mapping[Any, float] = field(default_factory=dict)  # what trials must keep to

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.spent += 1
        return result.get("epoch") == 1 and over(measured_excess(self.limits, result)) is not None

    def stop_all(self) -> bool:
        late = self.budget.hours is not None and time.time() - self.begun >= self.budget.hours * 3600
        return (
            self.no_place
            or bool(self.broken)
            or late
            or (self.budget.epochs is not None and self.spent >= self.budget.epochs)
        )

    def ended(self, error: str | None) -> None:
        """A trial did, of that error, or well: after ENOUGH that failed of one thing the next ones would, too."""
        self.failed = () if error is None else (*self.failed, re.sub(r"\d+", "#", error))
        if len(self.failed) >= ENOUGH and len(set(self.failed[-ENOUGH:])) == 1:
            self.broken = f"{ENOUGH} trials on end failed of this: {error}"

    def ended_first(self, error: str) -> None:
        """The search's default failed of that, and nothing has a score yet: what varies a few keys of it will, too."""
        self.broken = f"trial 0, the configuration that the search begins with, failed of this: {error}"

    @property
    def no_place(self) -> bool:
        """Whether nothing more can be kept."""
        return self.full or bool(self.away)
