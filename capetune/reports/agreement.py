"""How well the rungs of a search foretold the order of its trials at later ones and at the end."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from capetune.reports.ground import epoch_scores
from capetune.reports.story import Story

LEAST = 5  # trials; the rank correlation of fewer is chance


@dataclass(frozen=True)
class Agreement:
    """Spearman's rank correlation of the trials' scores after two epochs, over those that have both: 1 where the order
    stayed, 0 where the one says nothing of the other."""

    first: int
    last: int
    trials: int
    correlation: float


def agreements(story: Story) -> list[Agreement]:
    """Of each two rungs, and of each with the last epoch; none where the scheduler has no rungs. Two after which fewer
    than 5 trials have both scores, or all have the same one, are left out."""
    if not story.rungs or story.config is None:
        return []
    rows = [row for row in story.rows if row.state != "failed"]
    scores = [epoch_scores(row, story.goal.metric) for row in rows]
    found = []
    for first, last in combinations([*story.rungs, story.config.train.epochs], 2):
        both = np.array([(one[first], one[last]) for one in scores if first in one and last in one])
        if len(both) >= LEAST and not (both == both[0]).all(axis=0).any():
            found.append(Agreement(first, last, len(both), float(stats.spearmanr(both).statistic)))
    return found
