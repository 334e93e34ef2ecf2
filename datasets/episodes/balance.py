"""How often a category is trained on: as its instances come, or each as often as the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import repeat
from typing import TypeVar

import numpy as np

from capetune.datasets.episodes.supports import TrainSet

T = TypeVar("T")


def rates(train: TrainSet) -> dict[int, float]:
    """By category, how often each of its instances comes in a pass, so that all categories come equally often and a
    pass has as many samples as before. The official training draws categories so (Xu et al. 2022)."""
    share = len(train) / len(train.categories)
    return {id: share / count for id, count in train.counts.items()}


def balanced(
    rates: Mapping[int, float], category: Callable[[T], int], rng: np.random.Generator, values: Iterable[T]
) -> Iterator[T]:
    """Each value as often as the rate of its category says: 0.25 is every fourth, 2.5 two and three times in turn.

    Where each category begins to count is drawn, so that in another pass others come.
    """
    owed = {id: float(rng.random()) for id in sorted(rates)}
    for value in values:
        id = category(value)
        times, owed[id] = divmod(owed[id] + rates[id], 1)
        yield from repeat(value, int(times))
