"""Pairs to look at: a few of the best, the worst and typical ones, and of each kind of failure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from capetune.evaluation.failures import KINDS
from capetune.evaluation.protocol import CategoryPairs
from capetune.pose import Instance

SHOWN = 6  # of each group
FAILED = KINDS[:-1]  # near misses are no kind to look at
GROUPS = ("best", "typical", "worst", *FAILED)


@dataclass(frozen=True, eq=False)
class Example:
    """A pair: its query's and supports' ids, the episode it is of, and what was predicted, float (K, 2) source pixels.
    mpck4, template_mpck4: the predictor's and the template's of this pair."""

    category_id: int
    annotation_id: int
    support_ids: tuple[int, ...]
    episode: int
    mpck4: float
    template_mpck4: float
    xy: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """keypoints: x, y, x, y, … to a hundredth of a pixel."""
        names = ("category_id", "annotation_id", "episode", "mpck4", "template_mpck4")
        told = {name: getattr(self, name) for name in names}
        return {**told, "support_ids": list(self.support_ids), "keypoints": self.xy.ravel().round(2).tolist()}


@dataclass(frozen=True)
class _Candidate:
    rank: tuple[float, ...]
    example: Example


class Chooser:
    """Takes categories one after the other, in any order, and holds a few pairs of each group.

    categories, queries: how many there are in all, and in an episode. Every category has an equal chance of a place in
    a group, and no picture is shown twice in one; pairs without a keypoint that counts are never shown.
    """

    def __init__(self, categories: int, queries: int) -> None:
        self.quota = math.ceil(SHOWN / categories)
        self.queries = queries
        self._held: dict[str, list[_Candidate]] = {group: [] for group in GROUPS}
        self._scores: list[np.ndarray] = []

    def take(
        self,
        drawn: CategoryPairs,
        instances: Sequence[Instance],
        predicted: np.ndarray,
        found: np.ndarray,
        counts: np.ndarray,
        scores: tuple[np.ndarray, np.ndarray],
        nme: np.ndarray,
    ) -> None:
        """The P pairs of a category. predicted: (P, K, 2) source pixels. found: what `failures.kinds` gives. counts:
        bool (P,), True = a keypoint counts. scores: the predictor's and the template's mPCK4, float (P,). nme: float
        (P,), the predictor's."""
        mpck4 = scores[0]
        if not counts.any():
            return
        self._scores.append(mpck4[counts])
        ranks = {
            "best": (-mpck4, nme),
            "typical": (abs(mpck4 - np.median(mpck4[counts])), nme),
            "worst": (mpck4, -nme),
            **{kind: (-(found == KINDS.index(kind)).mean(axis=1), -nme) for kind in FAILED},
        }
        for group, (first, second) in ranks.items():
            fits = counts & (first < 0) if group in FAILED else counts
            order = np.lexsort((second, first))
            for row in self._few(order[fits[order]], drawn.queries):
                example = Example(
                    drawn.category.id,
                    instances[drawn.queries[row]].id,
                    tuple(instances[support].id for support in drawn.supports[row]),
                    int(row) // self.queries,
                    float(mpck4[row]),
                    float(scores[1][row]),
                    predicted[row].copy(),
                )
                self._held[group].append(_Candidate((float(first[row]), float(second[row])), example))

    def _few(self, rows: np.ndarray, queries: np.ndarray) -> Iterator[int]:
        """The first of `rows`, of other queries each."""
        seen: set[int] = set()
        for row in rows:
            if queries[row] not in seen:
                seen.add(queries[row])
                yield row
            if len(seen) == self.quota:
                return

    def chosen(self) -> dict[str, tuple[Example, ...]]:
        """By group, the first in rank; typical are those nearest to the median of all pairs."""
        middle = float(np.median(np.concatenate(self._scores))) if self._scores else 0.0

        def place(group: str, held: _Candidate) -> tuple[float, ...]:
            first = (abs(held.example.mpck4 - middle),) if group == "typical" else ()
            return (*first, *held.rank, held.example.category_id, held.example.annotation_id)

        return {
            group: tuple(held.example for held in sorted(held, key=lambda each: place(group, each))[:SHOWN])
            for group, held in self._held.items()
        }
