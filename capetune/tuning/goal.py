"""What a search is after: one metric of an epoch to raise or to lower, or two."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from capetune.runs.results import TrialResult
from capetune.tuning.space import Header, Mode


@dataclass(frozen=True)
class Goal:
    """metrics: names in an epoch's metrics. A trial's score is the first one's, in its best epoch."""

    metrics: tuple[str, ...]
    modes: tuple[Mode, ...]

    @classmethod
    def of(cls, header: Header) -> Goal:
        return cls(header.metric, header.mode)

    @property
    def metric(self) -> str:
        return self.metrics[0]

    @property
    def directions(self) -> list[Literal["maximize", "minimize"]]:
        """As Optuna calls them."""
        return ["maximize" if mode == "max" else "minimize" for mode in self.modes]

    def rank(self, score: float) -> float:
        """Larger is better."""
        return score if self.modes[0] == "max" else -score

    def best(self, history: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """The epoch with the best score, the first of equals; empty where there is none."""
        return max(history, key=lambda row: self.rank(row[self.metric]), default={})

    @property
    def worst(self) -> list[float]:
        return [-math.inf if mode == "max" else math.inf for mode in self.modes]

    def values(self, result: TrialResult) -> list[float]:
        """Of a trial that isn't failed, for the sampler: of one that diverged, the worst."""
        if result.status == "diverged":
            return self.worst
        return [result.metrics[metric] for metric in self.metrics]

    def front(self, found: Mapping[int, Mapping[str, float]]) -> set[int]:
        """Of trials, number → metrics, those that no other beats in one metric without being beaten in the other."""
        signs = [1 if mode == "max" else -1 for mode in self.modes]
        points = {
            number: [sign * metrics[name] for sign, name in zip(signs, self.metrics, strict=True)]
            for number, metrics in found.items()
            if all(name in metrics for name in self.metrics)
        }
        beaten = {
            number
            for number, mine in points.items()
            if any(other != mine and all(o >= m for o, m in zip(other, mine, strict=True)) for other in points.values())
        }
        return points.keys() - beaten

    def place(self, result: TrialResult) -> tuple[bool, bool, list[float], int]:
        """To sort trials by: the best first, those over a limit after all others, failed ones last, equals by their
        numbers."""
        return result.score is None, not result.eligible, self.order(result.score, result.metrics), result.number

    def order(self, score: float | None, metrics: Mapping[str, float]) -> list[float]:
        """To sort scored trials by: smaller is better. Of two metrics the second one decides between equals, so that
        the first of all is on the front."""
        others = [metrics[name] * (-1 if mode == "max" else 1) for name, mode in self._others if name in metrics]
        return [] if score is None else [-self.rank(score), *others]

    @property
    def _others(self) -> list[tuple[str, Mode]]:
        return list(zip(self.metrics, self.modes, strict=True))[1:]
