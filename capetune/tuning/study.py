"""A search: Ray Tune runs the trials, Optuna proposes them, a scheduler stops the poor ones.

Optuna's storage and the trials' folders hold all of it: a search that was cut off, however it was, goes on by being run
again (docs/search.md).
"""

from __future__ import annotations

import os
import shutil
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from ray import tune
from ray.tune.experiment import Trial

from capetune.config import Config
from capetune.datasets.pack import Pack
from capetune.errors import UserError
from capetune.training.runs import ERROR, read_history
from capetune.tuning.goal import Goal
from capetune.tuning.preflight import Plan
from capetune.tuning.samplers import make_sampler
from capetune.tuning.schedulers import carries_checkpoints, make_scheduler, recall
from capetune.tuning.searcher import StudySearcher
from capetune.tuning.space import Budget, Space
from capetune.tuning.trial import TrialResult, run_trial, saved_overrides, saved_results, trial_folder
from capetune.tuning.watcher import EVENTS, Keep, Limit, Listener, Quiet, Settings, Watcher, tell

JOURNAL, TUNE = "optuna.journal", ".tune"


def check_scorable(pack: Pack, split: int) -> None:
    """Raises UserError where the split has nothing to train on or to score trials by."""
    for part, use in (("train", "train on"), ("val", "score trials by")):
        if not len(pack.part(split, part)):
            raise UserError(f"{pack.path} holds no instance of split {split} {part} to {use}; pack its images too")


def open_storage(folder: Path, url: str | None) -> BaseStorage:
    """Optuna's storage of a run: a journal in its folder, or the database at a URL.

    Raises UserError where that can't be opened.
    """
    if url is None:
        return JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    try:
        return RDBStorage(url)
    except Exception as error:  # of SQLAlchemy or of the database's driver, which may not be installed
        raise UserError(f"can't open Optuna's storage {url}: {str(error).splitlines()[0]}") from None


@dataclass(frozen=True)
class Search:
    """What a search is.

    config: its base, which is trial 0. budget: of it all; hours are of this sitting. kept: how many trials keep their
    best checkpoint. storage: URL of a database in place of the journal. features: the folder of kept ones, which trials
    train on in place of images.
    """

    config: Config
    space: Space
    pack: Pack
    folder: Path
    budget: Budget
    kept: int = 3
    storage: str | None = None
    features: Path | None = None

    @property
    def goal(self) -> Goal:
        return Goal.of(self.space.header)


def run_search(search: Search, plan: Plan, listener: Listener, keep: Keep = lambda results: None) -> list[TrialResult]:
    """Run it to the end of its budget and return every trial that ended, best first.

    Called again for a folder where it was cut off, or with a larger budget, it goes on: ended trials are kept, the
    others continue from their latest epoch, the sampler and ASHA's rungs know all of them. listener: called with
    {"trial", "state", "overrides", "epoch", "score", "template", "twin", "error", "earlier"} of every trial that ended
    before, and whenever one starts, reports or ends; the latter are in events.jsonl too. keep: called with the trials
    that have ended, best first, whenever one does. The caller holds the folder (`training.runs.held`).
    """
    check_scorable(search.pack, search.config.data.split)
    search.folder.mkdir(parents=True, exist_ok=True)
    mend(search.folder)
    earlier = list(saved_results(search.folder))
    study = _study(search)
    for result in earlier:
        tell(study, result, search.goal)
    spent = sum(len(result.history) for result in earlier)
    limit = Limit(search.budget, spent)
    settings = Settings(search.config, search.goal, search.folder, search.kept)
    watcher = Watcher(settings, study, earlier, limit, listener, keep)
    watcher.say_earlier()
    ended = {result.number for result in earlier}
    begun = [trial for trial in study.trials if trial.state != TrialState.WAITING]
    unfinished = []
    for trial in begun:
        values = saved_overrides(trial_folder(search.folder, trial.number))
        if trial.number not in ended and values is not None and _ended_unsaid(search, trial.number):
            watcher.settle(trial.number, values)
        elif trial.number not in ended:
            unfinished.append(trial)
    assert search.budget.trials is not None
    fresh = max(0, search.budget.trials - len(begun))
    if (fresh or unfinished) and not limit.stop_all():
        _run(search, plan, study, unfinished, fresh, watcher, limit, earlier)
    return watcher.results()


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
    return (folder / ERROR).is_file() or bool(history and history[-1]["epoch"] >= search.config.train.epochs)


def _study(search: Search) -> optuna.Study:
    header, name = search.space.header, search.folder.name
    storage = open_storage(search.folder, search.storage)
    # The seed of a search that goes on is another one: the same would propose the same points again.
    known = [summary for summary in optuna.get_all_study_summaries(storage) if summary.study_name == name]
    seed = (search.config.seed + sum(summary.n_trials for summary in known)) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = make_sampler(header.sampler, seed)
    study = optuna.create_study(
        study_name=name, storage=storage, sampler=sampler, directions=search.goal.directions, load_if_exists=True
    )
    for point in search.space.points(search.config):
        study.enqueue_trial(point, skip_if_exists=True)
    return study


def _run(
    search: Search,
    plan: Plan,
    study: optuna.Study,
    unfinished: list[FrozenTrial],
    fresh: int,
    watcher: Watcher,
    limit: Limit,
    earlier: list[TrialResult],
) -> None:
    settings = {
        "config": search.config.model_dump(),
        "pack": str(search.pack.path.resolve()),
        "run": str(search.folder.resolve()),
        "goal": (search.goal.metrics, search.goal.modes),
        "workers": plan.workers,
        "threads": plan.threads,
        "device": plan.device,
        "features": None if search.features is None else str(search.features.resolve()),
        "portable": carries_checkpoints(search.space),
    }
    scheduler = make_scheduler(search.space, search.config, search.config.seed)
    recall(scheduler, earlier, search.goal)
    state = search.folder / TUNE  # Tune's own files; nothing is read from them
    shutil.rmtree(state, ignore_errors=True)
    tuner = tune.Tuner(
        tune.with_resources(partial(run_trial, settings=settings), trial_resources(plan)),
        tune_config=tune.TuneConfig(
            search_alg=StudySearcher(study, search.space, search.folder, unfinished, fresh),
            scheduler=scheduler,
            num_samples=len(unfinished) + fresh,
            # pbt compares trials that are all begun, and pauses those that are ahead.
            max_concurrent_trials=None if search.space.header.scheduler.name == "pbt" else plan.at_once,
            trial_dirname_creator=_folder_name,
        ),
        run_config=tune.RunConfig(
            name=TUNE,
            storage_path=str(search.folder.resolve()),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=4),  # of those that pbt hands from trial to trial
            failure_config=tune.FailureConfig(max_failures=1),  # of a lost process: errors are ours to settle
            stop=limit,
            callbacks=[watcher, Quiet()],
            verbose=0,
        ),
    )
    tuner.fit()
    shutil.rmtree(state, ignore_errors=True)


def trial_resources(plan: Plan) -> dict[str, float]:
    """What a trial's own process reserves. Its workers, where it has several, reserve their own: it takes no CPU then,
    for of all CPUs none may be left, but a trifle of the head node, where it belongs."""
    if plan.workers > 1:
        return {"node:__internal_head__": 0.001}
    return {"CPU": plan.threads, **({"GPU": 1} if plan.device == "cuda" else {})}


def _folder_name(trial: Trial) -> str:
    return f"trial-{trial.config['number']:03d}"
