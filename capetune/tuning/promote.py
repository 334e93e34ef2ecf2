"""Promotion: one configuration trained on several splits with several seeds, each scored officially on its test part.

The jobs are Tune's trials without a scheduler; each has a folder, and one that is whole is not run again.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from capetune.cluster.gauges import states_counted
from capetune.cluster.probe import LostNodes
from capetune.datasets.packs.reader import open_pack
from capetune.evaluation.evaluate import Predictor, evaluate
from capetune.evaluation.model import ModelPredictor
from capetune.evaluation.protocol import EPISODES
from capetune.evaluation.seen import overlap
from capetune.events import EpochDone, JobChanged, Listener, NodeLost, ignore
from capetune.runs.checkpoints import keep_checkpoints
from capetune.runs.failures import ERROR
from capetune.runs.history import at_end, finished, read_history
from capetune.runs.promotion import Promotion, report_name
from capetune.storage.scratch import address_of
from capetune.storage.whole import write_aside
from capetune.training.checkpoint import load_model, weights_hash
from capetune.tuning.goal import Goal
from capetune.tuning.names import name_epoch, name_task, named_trainable
from capetune.tuning.room import GivesWay, Room
from capetune.tuning.scoring import SpreadPredictor, scorers
from capetune.tuning.searcher import JobSearcher
from capetune.tuning.trial import Work, at_part, fill_folder
from capetune.tuning.tuner import resources, run_tuner

BEST = Goal(("mpck4",), ("max",))


def run_promotion(
    promotion: Promotion,
    room: Room,
    listener: Listener = ignore,
    lease: int = 0,
    fetch: Callable[[str], None] = lambda below: None,
) -> None:
    """Run every job that isn't whole, as many at once as there is room for; those that fail leave a traceback.

    listener: hears JobChanged, EpochDone and NodeLost. lease, fetch: as `Search` has them.
    """
    jobs = promotion.left()
    if not jobs:
        return
    where = address_of(promotion.folder) or str(promotion.folder.resolve())
    work = Work(promotion.config, promotion.pack.place.resolved, where, BEST, room.plan, lease=lease, ends=frozenset())
    asked = {"shots": promotion.shots, "episodes": promotion.episodes, "queries": promotion.queries}
    scheduler = FIFOScheduler()
    tune_config = tune.TuneConfig(
        search_alg=JobSearcher(jobs, room),
        scheduler=scheduler,
        num_samples=len(jobs),
        max_concurrent_trials=len(jobs),
        trial_dirname_creator=lambda trial: trial.config["job"]["name"],
    )
    job, title = partial(run_job, work=work, asked=asked), partial(_title, promotion.folder.name)
    trainable = named_trainable(job, resources(room.plan), "Job", title)
    with states_counted(promotion.folder.name, listener) as hear:
        callback = _Callback(promotion, hear, fetch)
        run_tuner(trainable, promotion.folder, tune_config, [callback, GivesWay(scheduler, room)])


def _title(run: str, given: dict[str, Any]) -> str:
    return f"{given['job']['name']} of {run}"


def run_job(given: dict[str, Any], work: Work, asked: dict[str, Any]) -> None:
    """The trainable: train to the end, keep the best epoch by validation, score it on the test part.

    asked: the promotion's shots, episodes and queries.
    """
    job = given["job"]
    with at_part(work, job["name"]) as bench:
        folder = bench.folder
        config = work.config.with_overrides(job["overrides"])
        if not at_end(read_history(folder), config.train):
            fill_folder(bench, {"number": job["number"], "overrides": job["overrides"]}, work)
            if (folder / ERROR).is_file():
                return
        tune.report({"scoring": True})
        try:
            best = keep_checkpoints(folder, also_latest=False)
            assert best is not None
            bench.bring(best)
            _score(best, work, job["name"], **asked)
        except Exception:
            write_aside(folder / ERROR, traceback.format_exc())


def _score(checkpoint: Path, work: Work, name: str, shots: Sequence[int], episodes: int | None, queries: int) -> None:
    """By as many workers as have trained it: a job of several has no CPU and no GPU of its own."""
    model, meta = load_model(checkpoint)
    pack, plan, data = open_pack(work.pack), work.plan, meta.config.data
    part = pack.part(data.split, "test")
    seen = overlap([pack.part(data.split, "train")], part)
    facts = {"checkpoint": checkpoint.name, "config_hash": meta.config.hash(), "epoch": meta.epoch}
    facts |= {"weights_hash": weights_hash(checkpoint), "data_hash": pack.fingerprint, "pack": pack.place.resolved}
    with ExitStack() as ends:
        if plan.workers > 1:
            crew = ends.enter_context(scorers(plan, plan.workers, name, ignore))
            predictor: Predictor = SpreadPredictor(crew, checkpoint, meta, pack, part)
        else:
            predictor = ModelPredictor(model.settle(plan.device), pack, data, plan.device)
        for count in shots:
            report = evaluate(part, predictor, count, episodes or EPISODES["test"], queries).known(seen, part)
            tree = {**replace(report, coverage=pack.manifest.coverage).to_json(), **facts}
            write_aside(checkpoint.parent / report_name(count, episodes, queries), json.dumps(tree, indent=2) + "\n")


class _Callback(tune.Callback):
    def __init__(self, promotion: Promotion, listener: Listener, fetch: Callable[[str], None]) -> None:
        self.fetch = fetch
        self.promotion = promotion
        self.listener = listener
        self.lost_nodes = LostNodes()

    def __getstate__(self) -> dict:
        return {}  # Tune pickles callbacks with its own state; a live display can't be

    def _who(self, trial: Trial) -> str:
        return f"Job {trial.config['job']['name']} of {self.promotion.folder.name}"

    def _name(self, trial: Trial, done: int, score: float | None = None) -> None:
        epochs = self.promotion.config.train.epochs
        name_epoch(trial, self._who(trial), done + 1, epochs, None if score is None else ("mpck4", score))

    def _say(self, trial: Trial, state: Literal["running", "scoring", "ended", "lost"]) -> None:
        job = trial.config["job"]["name"]
        if state == "ended":
            self.fetch(job)
        scores = self.promotion.scores(job) if state == "ended" else {}
        self.listener(JobChanged(self.promotion.folder.name, job, state, scores))

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        job = trial.config["job"]["name"]
        self._name(trial, finished(read_history(self.promotion.folder / job)))
        self._say(trial, "running")

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        if result.get("scoring"):
            name_task(trial, f"{self._who(trial)}: scoring")
            self._say(trial, "scoring")
            return
        run, job, row = self.promotion.folder.name, trial.config["job"]["name"], json.loads(result["row"])
        self._name(trial, int(row["epoch"]), row["mpck4"])
        self.listener(EpochDone(run, int(row["epoch"]), row, job=job))

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        for node in self.lost_nodes():
            self.listener(NodeLost(node))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._say(trial, "ended")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._say(trial, "lost")
