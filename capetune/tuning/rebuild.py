"""A study made anew of the trials' own files, where the disk or the journal that held it is gone."""

from __future__ import annotations

import os
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from capetune.runs.history import read_history
from capetune.runs.record import JOURNAL
from capetune.runs.results import TrialResult, saved_overrides, saved_results, trial_folder, trial_folders
from capetune.tuning.search import Search


def rebuild(search: Search) -> int:
    """Make the study in the folder's journal anew, of every trial of the folder under its own number. Returns how many.

    The journal appears with all of them; other studies that it holds stay. Ended trials are told as they ended; begun
    ones are running, to go on, and so is a number without a folder: nothing is known of it, and it is drawn anew.
    """
    journal = search.folder / JOURNAL
    aside = journal.with_name(f".{JOURNAL}")
    aside.write_bytes(journal.read_bytes() if journal.is_file() else b"")
    storage = JournalStorage(JournalFileBackend(str(aside)))
    study = optuna.create_study(study_name=search.study_name, storage=storage, directions=search.goal.directions)
    results = {result.number: result for result in saved_results(search.folder)}
    count = 1 + max(number for number, _ in trial_folders(search.folder))
    for number in range(count):
        study.add_trial(_trial(search, number, results.get(number)))
    os.replace(aside, journal)
    return count


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
