"""What the figures of parameters rest on: the scores of all trials after one and the same epoch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial

from capetune.reports.copies import copied, done
from capetune.reports.story import Row, Story
from capetune.runs.metrics import title
from capetune.runs.results import UNSCORED


@dataclass(frozen=True)
class Ground:
    """study: a copy in which a trial that has the score is complete with it and any other failed. epoch: after which
    the scores were measured; None: final ones. trials: how many the search has, whatever became of them."""

    study: optuna.Study
    metric: str
    epoch: int | None
    trials: int

    @property
    def scored(self) -> list[FrozenTrial]:
        return done(self.study)

    @property
    def score(self) -> str:
        """What is compared, for an axis."""
        return title(self.metric) if self.epoch is None else f"{title(self.metric)} after epoch {self.epoch}"

    @property
    def whose(self) -> str:
        """The trials that are compared, after their number."""
        after = "that were trained to the end" if self.epoch is None else f"with a score after epoch {self.epoch}"
        return f"trials {after}"

    @property
    def words(self) -> str:
        """What is compared, for a caption."""
        count = len(self.scored)
        whose = f"all {count} trials" if count == self.trials else f"{count} of {self.trials} trials"
        return f"final scores of {whose}" if self.epoch is None else f"scores after epoch {self.epoch} of {whose}"

    def first(self, story: Story, most: int) -> tuple[optuna.Study, int]:
        """The study with the best trials only, and how many others have the score."""
        trials = self.scored
        if len(trials) <= most:
            return self.study, 0
        place = story.goal.metrics.index(self.metric)
        sign = 1 if story.goal.modes[place] == "max" else -1
        best = sorted(trials, key=lambda trial: -sign * trial.values[0])[:most]
        return copied(story, [place], {trial.number: trial.values[0] for trial in best}), len(trials) - most


def ground(story: Story, place: int) -> Ground:
    """Of the metric at that place of the goal; the story has a study."""
    metric = story.goal.metrics[place]
    epoch = common_epoch(story.rows, metric)
    scores = {row.number: score(row, metric, epoch) for row in story.rows}
    return Ground(copied(story, [place], scores), metric, epoch, len(story.rows))


def common_epoch(rows: Sequence[Row], metric: str) -> int | None:
    """Of the epochs that the most trials have a score after, the last; failed trials don't count.

    None where all that ended were trained to the end: their final scores say more. Where some were stopped early, the
    final scores would be those of the few that the scheduler let through. A trial that is still open has no say, or one
    that has just begun would take all others back to its epoch.
    """
    closed = [row for row in rows if row.state in ("completed", "pruned")]
    cut_off = any(row.state == "stopped" for row in rows)
    if closed and not cut_off and all(row.state == "completed" for row in closed):
        return None
    choosing = closed or [row for row in rows if row.state not in UNSCORED]
    reached = Counter(epoch for row in choosing for epoch in epoch_scores(row, metric))
    return max(reached, key=lambda epoch: (reached[epoch], epoch), default=None)


def score(row: Row, metric: str, epoch: int | None) -> float | None:
    """A trial's after that epoch, or its final one: its best epoch's, as everywhere; None where it has none."""
    if row.state in UNSCORED:
        return None
    if epoch is not None:
        return epoch_scores(row, metric).get(epoch)
    final = row.metrics.get(metric) if row.state == "completed" else None
    return final if final is not None and math.isfinite(final) else None


def epoch_scores(row: Row, metric: str) -> dict[int, float]:
    """Epoch → score, where that is a number."""
    found = {int(epoch["epoch"]): epoch[metric] for epoch in row.history if metric in epoch}
    return {epoch: score for epoch, score in found.items() if math.isfinite(score)}
