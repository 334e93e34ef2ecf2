"""A search: Ray Tune runs the trials, Optuna proposes them, a scheduler stops the poor ones.

Optuna's storage and the trials' folders hold all of it: a search that was cut off, however it was, goes on by being run
again (docs/search.md).
"""

from __future__ import annotations

import os
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState
from ray import tune
from ray.tune.experiment import Trial

from capetune.cluster.gauges import states_counted
from capetune.cluster.probe import LostNodes
from capetune.errors import UserError
from capetune.events import Doubted, Listener
from capetune.runs.commands import again
from capetune.runs.diary import EVENTS
from capetune.runs.failures import ERROR
from capetune.runs.history import read_history
from capetune.runs.record import JOURNAL
from capetune.runs.results import TRIALS, TrialResult, saved_overrides, saved_results, trial_folder, trial_folders
from capetune.storage.scratch import address_of
from capetune.tuning.ending import Limit
from capetune.tuning.goal import Goal
from capetune.tuning.names import named_trainable
from capetune.tuning.patience import away
from capetune.tuning.rebuild import rebuild
from capetune.tuning.repeats import repeated_epochs, whole
from capetune.tuning.room import GivesWay, Room
from capetune.tuning.samplers import make_sampler
from capetune.tuning.schedulers import carries_checkpoints, ends, make_scheduler, recall
from capetune.tuning.search import Search, Searched
from capetune.tuning.searcher import StudySearcher
from capetune.tuning.space import LISTED
from capetune.tuning.steering import Steering
from capetune.tuning.storage import open_storage, study_names, without_password
from capetune.tuning.telling import tell
from capetune.tuning.trial import Work, no_room, run_trial
from capetune.tuning.tuner import resources, run_tuner
from capetune.tuning.twins import begun, queue_failed
from capetune.tuning.warm import by_number, first_points, read_warm, tell_earlier
from capetune.tuning.watcher import Keep, Watcher

MOST = 10**6  # trials that Tune may be given: how many it is, the searcher says


def run_search(
    search: Search,
    room: Room,
    listener: Listener,
    keep: Keep = lambda results: None,
) -> Searched:
    """Run it to the end of its budget, or until nothing is left to try.

    Called again for a folder where it was cut off, or with a larger budget, it goes on: ended trials are kept, the
    others continue from their latest epoch, the sampler and ASHA's rungs know all of them. listener: hears TrialEnded
    of every trial that ended before, then TrialStarted, EpochDone, CheckpointKept and TrialEnded as they happen, which
    are in events.jsonl too. keep: called with the trials that have ended, best first, whenever one does. The caller
    holds the folder (`storage.hold.held`).

    Raises UserError where the disk is full, the trials fail one after another of the same, or the storage isn't that of
    the folder's trials.
    """
    with states_counted(search.folder.name, listener) as hear:
        return _searched(search, room, hear, keep)


def _searched(search: Search, room: Room, listener: Listener, keep: Keep) -> Searched:
    search.folder.mkdir(parents=True, exist_ok=True)
    mend(search.folder)
    earlier = list(saved_results(search.folder))
    study = _found(search, earlier, listener)
    for result in earlier:
        tell(study, result, search.goal)
    spent = sum(len(read_history(folder)) for folder in (search.folder / TRIALS).glob("trial-*"))
    spent += sum(repeated_epochs(search, trial_folder(search.folder, result.number)) for result in earlier)
    limit = Limit(search.budget, spent, limits=search.space.header.constraints)
    warm = by_number(study, read_warm(search.folder))
    watcher = Watcher(search, study, earlier, limit, listener, keep, LostNodes(), warm)
    watcher.say_earlier()
    steering = Steering(watcher, search.noted, search.steered, search.fixed)
    ended = {result.number for result in earlier}
    unfinished = []
    for trial in begun(study):
        if trial.number in ended:
            continue
        values = saved_overrides(trial_folder(search.folder, trial.number))
        over = trial.number in watcher.halted or _ended_unsaid(search, trial.number)
        if values is not None and over:
            watcher.settle(trial.number, values)
        else:
            unfinished.append(trial)
    if search.retry:
        queue_failed(study, earlier)
    nothing_left = False
    if (steering.due or unfinished) and not limit.stop_all():
        try:
            nothing_left = _run(search, room, study, unfinished, watcher, steering)
        except Exception as error:
            limit.full = no_room(error, search.folder)
            if search.storage is not None and away(error):  # it may come through Tune, as text
                go_on, where = again("search --resume", search.folder), without_password(search.storage)
                raise UserError(f"{where} is away, and what ended meanwhile untold; `{go_on}` goes on") from None
            if not limit.full:
                raise
    if limit.away:
        raise UserError(f"{limit.away}; `{again('search --resume', search.folder)}` goes on")
    if limit.full:
        go_on = again("search --resume", search.folder)
        raise UserError(f"no room is left for {search.folder}: free some, then `{go_on}` goes on")
    if limit.broken:
        failed = next(result for result in reversed(watcher.ended.values()) if result.status == "failed")
        go_on = again("search --resume", search.folder)
        cure = f"`{go_on}` goes on, and with --retry-failed tries what failed again"
        raise UserError(f"{limit.broken}; its traceback is in {search.folder / str(failed.traceback)}; {cure}")
    results = watcher.results()
    cut = sum(trial.state == TrialState.RUNNING for trial in study.get_trials(deepcopy=False))
    return Searched(results, cut + (0 if nothing_left else steering.due))


def mend(folder: Path) -> None:
    """Remove what a killed process leaves: the journal's lock, for which Optuna would wait for ever, and half lines,
    to which it would append. Only for who holds the run's folder."""
    for lock in folder.glob(f"{JOURNAL}.lock*"):
        lock.unlink()
    for file in (folder / JOURNAL, folder / EVENTS):
        if file.is_file() and not (content := file.read_bytes()).endswith(b"\n"):
            os.truncate(file, content.rfind(b"\n") + 1)


def _ended_unsaid(search: Search, number: int) -> bool:
    """Whether the search was cut off between a trial's last epoch, or its failure, and the writing of its result."""
    folder = trial_folder(search.folder, number)
    history = read_history(folder)
    return (folder / ERROR).is_file() or (bool(history) and whole(search, folder, history))


def _found(search: Search, earlier: list[TrialResult], listener: Listener) -> optuna.Study:
    """The search's study, which knows every trial of the folder: where the folder's journal is gone, made anew of the
    trials' own files. Raises UserError, with nothing written, where the storage is another search's."""
    storage, name = open_storage(search.folder, search.storage), search.study_name
    where = without_password(search.storage) if search.storage else str(search.folder / JOURNAL)
    if name in study_names(storage):
        if earlier and not _theirs(optuna.load_study(study_name=name, storage=storage), earlier, search.goal):
            raise UserError(
                f"{where} is another search's: it doesn't know trial {earlier[-1].number} of {search.folder} as it is"
            )
    elif trial_folders(search.folder):
        if search.storage is not None:
            raise UserError(f"{where} holds no study {name!r}; give the database that does with --storage")
        count = rebuild(search.folder, name, search.space, search.config)
        storage = open_storage(search.folder, None)
        if address_of(search.folder) is None:  # at an address there never is one
            listener(Doubted(f"{where} was gone: made anew of the {count} trials' own files"))
    return _study(search, storage)


def _theirs(study: optuna.Study, results: list[TrialResult], goal: Goal) -> bool:
    """Whether a study's trials are these: it has all of them, and the complete ones have their scores."""
    trials = study.get_trials(deepcopy=False)
    if results[-1].number >= len(trials):
        return False
    told = [(trials[r.number], r) for r in results if r.status == "completed"]
    return all(trial.state != TrialState.COMPLETE or trial.values == goal.values(result) for trial, result in told)


def _study(search: Search, storage: BaseStorage) -> optuna.Study:
    header, name = search.space.header, search.study_name
    # The seed of a search that goes on is another one: the same would propose the same points again.
    known = [summary for summary in optuna.get_all_study_summaries(storage) if summary.study_name == name]
    seed = (search.config.seed + sum(summary.n_trials for summary in known)) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = make_sampler(header.sampler, seed, search.space.conditional)
    study = optuna.create_study(
        study_name=name, storage=storage, sampler=sampler, directions=search.goal.directions, load_if_exists=True
    )
    warm = read_warm(search.folder)
    if not begun(study) or header.sampler in LISTED:  # a wider one has points that weren't queued
        for point in first_points(search.space, search.config, warm):
            study.enqueue_trial(point, skip_if_exists=True)
    tell_earlier(study, search.space, search.goal, warm)
    return study


def _run(
    search: Search,
    room: Room,
    study: optuna.Study,
    unfinished: list[FrozenTrial],
    watcher: Watcher,
    steering: Steering,
) -> bool:
    """Returns whether nothing is left to try."""
    watcher.lost_nodes()  # those that were lost before are none of ours
    plan = room.plan
    features = None if search.features is None else search.features.resolve()
    work = Work(
        search.config,
        search.pack.place.resolved,
        address_of(search.folder) or str(search.folder.resolve()),
        search.goal,
        plan,
        features,
        portable=carries_checkpoints(search.space),
        lease=search.lease,
        ends=ends(search.space, search.config),
        repeats=search.space.header.repeats,
    )
    scheduler = make_scheduler(search.space, search.config, search.folder)
    others = [each.result for each in watcher.twins.earlier.values() if each.result is not None]
    recall(scheduler, watcher.results(), others)
    # pbt compares trials that are all begun, and pauses those that are ahead.
    paced = None if search.space.header.scheduler.name == "pbt" else room
    watched = (watcher.twins, watcher.over, watcher.say, paced, steering.next_point)
    searcher = StudySearcher(study, search.space, search.folder, unfinished, steering.due, *watched)
    tune_config = tune.TuneConfig(
        search_alg=searcher,
        scheduler=scheduler,
        num_samples=MOST,
        max_concurrent_trials=None if paced is None else MOST,
        trial_dirname_creator=_folder_name,
        # A trial in a process of its own would first import torch and Ray, for some seconds.
        reuse_actors=plan.workers == 1 and not work.portable,
    )
    shown = "trials of {run}, one after another" if tune_config.reuse_actors else "trial {number} of {run}"
    title = partial(_title, shown, search.folder.name)
    trainable = named_trainable(partial(run_trial, work=work), resources(plan), "Trial", title)
    hand = GivesWay(scheduler, room)
    with steering.listening(searcher, hand):
        run_tuner(trainable, search.folder, tune_config, [watcher, hand, steering], watcher.limit)
    return searcher.ended


def _title(shown: str, run: str, trial: dict[str, Any]) -> str:
    return shown.format(run=run, **trial)


def _folder_name(trial: Trial) -> str:
    return f"trial-{trial.config['number']:03d}"
