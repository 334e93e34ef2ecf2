"""How well the first rung of a search foretold the order of its trials at the end."""

from __future__ import annotations

from dataclasses import dataclass

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


def agreement(story: Story) -> Agreement | None:
    """None where the scheduler has no rungs, fewer than 5 trials have both scores, or all have the same one."""
    if not story.rungs or story.config is None:
        return None
    first, last = story.rungs[0], story.config.train.epochs
    rows = [row for row in story.rows if row.state != "failed"]
    scores = [epoch_scores(row, story.goal.metric) for row in rows]
    both = np.array([(one[first], one[last]) for one in scores if first in one and last in one])
    if len(both) < LEAST or (both == both[0]).all(axis=0).any():
        return None
    return Agreement(first, last, len(both), float(stats.spearmanr(both).statistic))
