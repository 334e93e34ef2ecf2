"""A study made anew of the trials' own files, where the disk or the journal that held it is gone."""

from __future__ import annotations

import os
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from capetune.config import Config, load_config
from capetune.runs.history import read_history
from capetune.runs.record import CONFIG, JOURNAL, SPACE, Run
from capetune.runs.results import TrialResult, saved_added, saved_overrides, saved_results, trial_folder, trial_folders
from capetune.storage.scratch import address_of
from capetune.tuning.goal import Goal
from capetune.tuning.space import Space
from capetune.tuning.space_file import load_space
from capetune.tuning.storage import open_storage, study_name
from capetune.tuning.telling import frozen
from capetune.tuning.twins import ADDED
from capetune.tuning.warm import as_known, first_points, read_warm, tell_earlier


def rebuild(folder: Path, name: str, space: Space, config: Config) -> int:
    """Make the study of that name in the folder's journal anew, of every trial of the folder under its own number, and
    of the space's points that none has begun with. config: the search's base. Returns how many trials.

    The journal appears with all of them; other studies that it holds stay. Ended trials are told as they ended; begun
    ones are running, to go on, and so is a number without a folder, which is drawn anew; one of the points waits again.
    """
    goal, warm = Goal.of(space.header), read_warm(folder)
    points = first_points(space, config, warm)
    earlier = [each for each in warm if each.result is not None]  # they come after the points
    journal = folder / JOURNAL
    aside = journal.with_name(f".{JOURNAL}")
    aside.write_bytes(journal.read_bytes() if journal.is_file() else b"")
    storage = JournalStorage(JournalFileBackend(str(aside)))
    study = optuna.create_study(study_name=name, storage=storage, directions=goal.directions)
    results = {result.number: result for result in saved_results(folder)}
    count = 1 + max((number for number, _ in trial_folders(folder)), default=-1)
    for number in range(count):
        if 0 <= number - len(points) < len(earlier):
            study.add_trial(as_known(earlier[number - len(points)], space, goal))
        elif number < len(points) and not trial_folder(folder, number).is_dir():
            study.enqueue_trial(points[number])
        else:
            study.add_trial(_trial(folder, space, goal, number, results.get(number)))
    for point in points[count:]:
        study.enqueue_trial(point)
    tell_earlier(study, space, goal, warm)
    os.replace(aside, journal)
    return count


def readable_storage(run: Run) -> BaseStorage:
    """Optuna's storage of a search that is only looked at; at an address lies no journal, so it is made anew here.
    Raises UserError where it can't be opened."""
    url = run.facts.get("storage")
    if url is None and address_of(run.folder):
        config = load_config("tiny", run.folder / CONFIG)
        rebuild(
            run.folder, study_name(run.folder, run.facts), load_space(run.folder / SPACE, config, begun=True), config
        )
    return open_storage(run.folder, url)


def _trial(run: Path, space: Space, goal: Goal, number: int, result: TrialResult | None) -> FrozenTrial:
    folder = trial_folder(run, number)
    epochs = {int(row["epoch"]): row[goal.metric] for row in read_history(folder)}
    added = saved_added(folder)
    attributes = {} if added is None else {ADDED: added}
    values = saved_overrides(folder) or ({} if result is None else result.overrides)
    return frozen(space, goal, values, result, epochs, attributes)
