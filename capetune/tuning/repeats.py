"""Trials that are trained with several seeds: when one is whole, and what it has shown.

With its first seed a trial is trained in its own folder, and that curve is the scheduler's: one that is stopped isn't
repeated. With the others it is trained after that, in folders below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from capetune.runs.history import at_end, read_history
from capetune.runs.results import repeat_folder
from capetune.training.loop import Metrics
from capetune.tuning.goal import Goal
from capetune.tuning.search import Search


def histories(search: Search, folder: Path) -> list[list[Metrics]]:
    """Of a trial's further seeds; none where a trial has one."""
    return [read_history(repeat_folder(folder, number)) for number in range(1, search.space.header.repeats)]


def repeated_epochs(search: Search, folder: Path) -> int:
    """How many epochs a trial was trained with further seeds."""
    return sum(len(history) for history in histories(search, folder))


def whole(search: Search, folder: Path, history: Sequence[Metrics]) -> bool:
    """Whether a trial was trained to its last epoch with every seed. history: its first one's."""
    return all(at_end(each, search.config.train) for each in [history, *histories(search, folder)])


def best_of(goal: Goal, all_histories: Sequence[Sequence[Metrics]]) -> tuple[dict[str, Any], list[float]]:
    """The means of each seed's best epoch, whose number is the first one's; and every seed's score, where there are
    several."""
    bests: list[Mapping[str, Any]] = [goal.best(history) for history in all_histories]
    first = dict(bests[0])
    if len(bests) == 1:
        return first, []
    means = {name: fmean(best[name] for best in bests) for name in first if all(name in best for best in bests)}
    return {**means, "epoch": first["epoch"]}, [best[goal.metric] for best in bests]
