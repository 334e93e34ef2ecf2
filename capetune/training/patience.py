"""When a training has gone on for long enough without getting better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

STATE = "patience"  # of what a checkpoint keeps for going on
STALE = "stale"  # of an epoch's metrics


@dataclass
class Patience:
    """most: validations on end that may be no better than the best before them, None: any number. metric, mode: what
    better is. stale: how many there were on end."""

    most: int | None = None
    metric: str = "mpck4"
    mode: Literal["max", "min"] = "max"
    best: float | None = None
    stale: int = 0

    @property
    def spent(self) -> bool:
        return self.most is not None and self.stale >= self.most

    def hear(self, metrics: dict[str, float]) -> None:
        """Of an epoch, whose metrics get `stale` where there is a most: so whoever reads the history knows its end."""
        score = metrics[self.metric]
        better = self.best is None or (score > self.best if self.mode == "max" else score < self.best)
        self.best, self.stale = (score, 0) if better else (self.best, self.stale + 1)
        if self.most is not None:
            metrics[STALE] = float(self.stale)

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "stale": self.stale}

    def go_on(self, state: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """From what a checkpoint keeps; of an older one, which doesn't keep it, from its own metrics."""
        kept = state.get(STATE) or {"best": metrics.get(self.metric), "stale": 0}
        self.best, self.stale = kept["best"], kept["stale"]
