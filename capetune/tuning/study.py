"""A search: Ray Tune runs the trials, Optuna's TPE proposes them, ASHA stops the poor ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from capetune.config import Config
from capetune.datasets.pack import Pack
from capetune.errors import UserError
from capetune.training.checkpoint import best_checkpoint
from capetune.training.cluster import Cluster
from capetune.training.loop import Metrics
from capetune.training.runs import ERROR, TRIALS, add_to_history, error_line, write_aside
from capetune.tuning.space import Space
from capetune.tuning.trial import Status, TrialResult, run_trial

METRIC, MODE = "mpck4", "max"
OURS = ("epoch", "train_", "val_", "mpck", "pck_", "template_")  # how the loop's metrics begin; Tune adds its own
Listener = Callable[[dict[str, Any]], None]
Keep = Callable[[list[TrialResult]], None]


def check_scorable(pack: Pack, split: int) -> None:
    """Raises UserError where the split has nothing to train on or to score trials by."""
    for part, use in (("train", "train on"), ("val", "score trials by")):
        if not len(pack.part(split, part)):
            raise UserError(f"{pack.path} holds no instance of split {split} {part} to {use}; pack its images too")


def run_search(
    config: Config,
    space: Space,
    pack: Pack,
    folder: Path,
    cluster: Cluster,
    trials: int,
    listener: Listener,
    keep: Keep = lambda results: None,
) -> list[TrialResult]:
    """Run `trials` trials and return them, best first.

    Trial 0 is `config` itself. As many trials run at once as the cluster has GPUs, or else CPUs. folder: of the run;
    Tune's state, Optuna's journal and a folder a trial with its best checkpoint and history land in it. listener:
    called with {"trial", "state", "overrides", "epoch", "score", "template", "error"} whenever a trial starts,
    reports or ends. keep: called with the trials that have ended, best first, whenever one does.
    """
    check_scorable(pack, config.data.split)
    folder.mkdir(parents=True, exist_ok=True)
    _numbers.clear()
    watcher = _Watcher(config, folder / TRIALS, listener, keep)
    gpu = cluster.gpus > 0
    at_once = min(trials, cluster.gpus if gpu else cluster.cpus)
    threads = max(1, cluster.cpus // at_once)
    settings = {
        "config": config.model_dump(),
        "pack": str(pack.path.resolve()),
        "threads": threads,
        "device": "cuda" if gpu else "cpu",
    }
    resources: dict[str, float] = {"CPU": threads, **({"GPU": 1} if gpu else {})}
    searcher = OptunaSearch(
        space=space.parameters,
        metric=METRIC,
        mode=MODE,
        points_to_evaluate=[space.default(config)],
        sampler=optuna.samplers.TPESampler(seed=config.seed),
        study_name=folder.name,
        storage=JournalStorage(JournalFileBackend(str(folder / "optuna.journal"))),
    )
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(run_trial, settings=settings), resources),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=ASHAScheduler("epoch", METRIC, MODE, max_t=config.train.epochs, reduction_factor=3),
            num_samples=trials,
            max_concurrent_trials=at_once,
            trial_dirname_creator=_folder_name,
        ),
        run_config=tune.RunConfig(
            name=TRIALS,
            storage_path=str(folder.resolve()),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1, checkpoint_score_attribute=METRIC),
            callbacks=[watcher],
            verbose=0,
        ),
    )
    tuner.fit()
    return watcher.results()


_numbers: dict[str, int] = {}  # of this process's search; Tune calls a fresh copy of what it is given each time


def _folder_name(trial: Trial) -> str:
    """Numbers the trials in the order in which they are proposed; trial 0 is the default configuration."""
    return f"trial-{_numbers.setdefault(trial.trial_id, len(_numbers)):03d}"


def _name(trial: Trial) -> str:
    """Of its folder, as `_folder_name` made it."""
    assert trial.path is not None
    return Path(trial.path).name


def _number(trial: Trial) -> int:
    return int(_name(trial).removeprefix("trial-"))


class _Watcher(tune.Callback):
    """Hears of every trial on the driver and keeps what becomes of it."""

    def __init__(self, config: Config, folder: Path, listener: Listener, keep: Keep) -> None:
        self.config = config
        self.folder = folder
        self.listener = listener
        self.keep = keep
        self.history: dict[str, list[Metrics]] = {}
        self.ending: list[Trial] = []
        self.ended: dict[int, TrialResult] = {}

    def __getstate__(self) -> dict:
        return {}  # Tune pickles callbacks with its own state; a live display can't be

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._say(trial, "running")

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        metrics = {name: value for name, value in result.items() if name.startswith(OURS)}
        metrics["seconds"] = result["time_this_iter_s"]
        self.history.setdefault(trial.trial_id, []).append(metrics)
        add_to_history(self._place(trial), metrics)
        self._say(trial, "running")

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self.ending.append(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self.ending.append(trial)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Only now a failed trial has its error, and the checkpoints are settled."""
        for trial in [trial for trial in self.ending if trial.status != Trial.ERROR or trial.get_error()]:
            self.ending.remove(trial)
            self._end(trial)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        while self.ending:
            self._end(self.ending.pop(0))

    def results(self) -> list[TrialResult]:
        """Every trial that ended, best first, failed ones last."""
        return sorted(self.ended.values(), key=lambda result: (-result.rank_key, result.number))

    def _end(self, trial: Trial) -> None:
        result = self._result(trial)
        self.ended[result.number] = result
        self.keep(self.results())
        self._say(trial, result.status, result.error)

    def _say(self, trial: Trial, state: str, error: str | None = None) -> None:
        history = self.history.get(trial.trial_id, [])
        best = max(history, key=lambda metrics: metrics[METRIC], default={})
        self.listener(
            {
                "trial": _number(trial),
                "state": state,
                "overrides": trial.config,
                "epoch": int(history[-1]["epoch"]) if history else 0,
                "score": None if state == "failed" else best.get(METRIC),
                "template": best.get("template_mpck4"),
                "error": error,
            }
        )

    def _result(self, trial: Trial) -> TrialResult:
        folder = self._place(trial)
        history = self.history.get(trial.trial_id, [])
        failed = trial.status == Trial.ERROR or not history
        best = {} if failed else max(history, key=lambda metrics: metrics[METRIC])
        found = None if failed else best_checkpoint(folder)
        status: Status = "pruned"
        if failed or history[-1]["epoch"] >= self.config.train.epochs:
            status = "failed" if failed else "completed"
        return TrialResult(
            number=_number(trial),
            overrides=dict(trial.config),
            status=status,
            score=best.get(METRIC),
            metrics=best,
            history=[(int(metrics["epoch"]), metrics[METRIC]) for metrics in history],
            seconds=sum(metrics["seconds"] for metrics in history),
            config_hash=self._hash(trial.config),
            checkpoint=str(found[0]) if found else None,
            **(_keep_error(trial, folder) if failed else {}),
        )

    def _place(self, trial: Trial) -> Path:
        """The trial's folder, below the run's as it was given: a path for people."""
        return self.folder / _name(trial)

    def _hash(self, overrides: dict[str, Any]) -> str | None:
        try:
            return self.config.with_overrides(overrides).hash()
        except UserError:  # values that don't go together: the trial failed of it
            return None


def _keep_error(trial: Trial, folder: Path) -> dict[str, Any]:
    """Write a failed trial's traceback into its folder. Returns `TrialResult`'s error, bad_input and traceback."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(trial.get_error() or "it ended without a result")).strip()
    file = folder / ERROR
    folder.mkdir(parents=True, exist_ok=True)
    write_aside(file, text + "\n")
    line, ours = error_line(text), f"{UserError.__module__}.{UserError.__qualname__}: "
    return {"error": line.removeprefix(ours), "bad_input": line.startswith(ours), "traceback": str(file)}
