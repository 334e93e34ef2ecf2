"""A study made anew of the trials' own files, where the disk or the journal that held it is gone."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from capetune.runs.history import read_history
from capetune.runs.results import TrialResult, saved_overrides, saved_results, trial_folder, trial_folders
from capetune.tuning.search import Search


def has_trials(search: Search) -> bool:
    """Whether the folder holds any trial that was begun."""
    return bool(_numbers(search))


def rebuild(search: Search, study: optuna.Study) -> int:
    """Add every trial of the folder to an empty study, under its own number. Returns how many.

    Ended ones are told as they ended; begun ones are running, to go on, and so is a number without a folder: nothing is
    known of it, and it is drawn anew.
    """
    results = {result.number: result for result in saved_results(search.folder)}
    last = max(_numbers(search), default=-1)
    for number in range(last + 1):
        study.add_trial(_trial(search, number, results.get(number)))
    return last + 1


def _numbers(search: Search) -> list[int]:
    return [number for number, _ in trial_folders(search.folder)]


def _trial(search: Search, number: int, result: TrialResult | None) -> FrozenTrial:
    folder = trial_folder(search.folder, number)
    overrides = saved_overrides(folder)
    ranges = {
        key: search.space.parameters[key].distribution for key in overrides or {} if key in search.space.parameters
    }
    values = {key: value for key, value in (overrides or {}).items() if key in ranges and _within(ranges[key], value)}
    goal, one = search.goal, len(search.goal.metrics) == 1
    state, scores = TrialState.RUNNING, None
    if result is not None and result.status == "failed":
        state = TrialState.FAIL
    elif result is not None and result.status == "pruned" and one:
        state = TrialState.PRUNED
    elif result is not None and result.status != "stopped":
        state, scores = TrialState.COMPLETE, [result.metrics[metric] for metric in goal.metrics]
    epochs: dict[int, float] = {}
    if one and state != TrialState.FAIL:
        epochs = {int(row["epoch"]): row[goal.metric] for row in read_history(folder)}
    return create_trial(
        state=state,
        values=scores,
        params=values,
        distributions={key: ranges[key] for key in values},
        intermediate_values=epochs,
    )


def _within(distribution: optuna.distributions.BaseDistribution, value: Any) -> bool:
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (ValueError, TypeError):
        return False
