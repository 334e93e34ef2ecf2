"""How far a score would move with other categories, or with other supports of the same: bootstrap intervals of 95 %."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVEL = 0.95
RESAMPLES = 2000
FEWEST = 6  # categories: five that all lean one way do so by chance in 1 of 16 cases, six in 1 of 32


@dataclass(frozen=True)
class Interval:
    """Both ends of a percentile bootstrap interval at LEVEL (Efron 1979), of RESAMPLES drawn with the same seed."""

    low: float
    high: float

    def to_json(self) -> list[float]:
        return [self.low, self.high]


def over_categories(means: Sequence[float]) -> Interval | None:
    """Of the mean over categories: categories are drawn anew, with the pairs that each has. It says what other
    categories like these would give. means: one for each category. None of fewer than FEWEST."""
    return _bootstrap([np.asarray(means)]) if len(means) >= FEWEST else None


def over_draws(episodes: Sequence[np.ndarray]) -> Interval | None:
    """Of the mean over categories, which stay as they are: within each the episodes, which are draws of supports and
    their queries, are drawn anew. It says what other draws of the same instances would give.

    episodes: for each category float (E,), the means of its E episodes. None where E is 1. With E episodes the interval
    is too narrow by √((E - 1) / E): by 18 % with three, by nothing to speak of with the official 200.
    """
    return _bootstrap(episodes) if episodes and all(len(each) > 1 for each in episodes) else None


def _bootstrap(samples: Sequence[np.ndarray]) -> Interval:
    """Of the mean of the samples' means, each sample drawn anew by itself."""
    from scipy import stats  # takes a second to import, which a training's validation needn't wait for

    def statistic(*drawn: np.ndarray, axis: int) -> Any:
        return np.mean([each.mean(axis=axis) for each in drawn], axis=0)

    options: dict[str, Any] = {"confidence_level": LEVEL, "n_resamples": RESAMPLES, "method": "percentile"}
    found = stats.bootstrap(
        tuple(samples), statistic, vectorized=True, batch=100, rng=np.random.default_rng(0), **options
    )
    return Interval(float(found.confidence_interval.low), float(found.confidence_interval.high))
