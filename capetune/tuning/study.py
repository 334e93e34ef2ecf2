"""A search: Ray Tune runs the trials, Optuna's TPE proposes them, ASHA stops the poor ones."""

from __future__ import annotations

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
from capetune.tuning.space import Space
from capetune.tuning.trial import Status, TrialResult, run_trial

METRIC, MODE = "mpck4", "max"
Listener = Callable[[dict[str, Any]], None]


def run_search(
    config: Config, space: Space, pack: Pack, folder: Path, cluster: Cluster, trials: int, listener: Listener
) -> list[TrialResult]:
    """Run `trials` trials and return them, best first.

    Trial 0 is `config` itself. As many trials run at once as the cluster has GPUs, or else CPUs. folder: of the run;
    Tune's state, each trial's best checkpoint and Optuna's journal land in it. listener: called with {"trial",
    "state", "overrides", "epoch", "score", "error"} whenever a trial starts, reports or ends.
    """
    if not len(pack.part(config.data.split, "val")):
        raise UserError(f"split {config.data.split} has no packed val instance to score trials on; pack its images too")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    watcher = _Watcher(config, listener)
    gpu = cluster.gpus > 0
    at_once = min(trials, cluster.gpus if gpu else cluster.cpus)
    threads = max(1, cluster.cpus // at_once)
    settings = {
        "config": config.model_dump(),
        "pack": str(pack.path.resolve()),
        "threads": threads,
        "device": "cuda" if gpu else "cpu",
    }
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
        tune.with_resources(
            tune.with_parameters(run_trial, settings=settings), {"CPU": threads} | ({"GPU": 1} if gpu else {})
        ),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=ASHAScheduler("epoch", METRIC, MODE, max_t=config.train.epochs, reduction_factor=3),
            num_samples=trials,
            max_concurrent_trials=at_once,
            trial_dirname_creator=lambda trial: f"trial-{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent.resolve()),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1, checkpoint_score_attribute=METRIC),
            callbacks=[watcher],
            verbose=0,
        ),
    )
    tuner.fit()
    return sorted(watcher.results(), key=lambda result: -result.rank_key)


class _Watcher(tune.Callback):
    """Hears of every trial on the driver; numbers them in the order in which they were proposed."""

    def __init__(self, config: Config, listener: Listener) -> None:
        self.config = config
        self.listener = listener
        self.trials: dict[int, Trial] = {}
        self.best: dict[str, dict[str, Any]] = {}

    def __getstate__(self) -> dict:
        return {}  # Tune pickles callbacks with its own state; a live display can't be

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._say(trials, trial, "running")

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        best = self.best.get(trial.trial_id)
        if best is None or result[METRIC] > best[METRIC]:
            self.best[trial.trial_id] = result
        self._say(trials, trial, "running", result["epoch"])

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._say(trials, trial, self._status(trial))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._say(trials, trial, "failed", error=_error_line(trial))

    def results(self) -> list[TrialResult]:
        """Every trial that started, in order."""
        return [self._result(number, trial) for number, trial in sorted(self.trials.items())]

    def _say(
        self, trials: list[Trial], trial: Trial, state: str, epoch: int | None = None, error: str | None = None
    ) -> None:
        best = self.best.get(trial.trial_id, {})
        number = trials.index(trial)
        self.trials[number] = trial
        event = {"trial": number, "state": state, "overrides": trial.config, "epoch": epoch, "error": error}
        self.listener(event | {"score": best.get(METRIC)})

    def _status(self, trial: Trial) -> Status:
        if trial.status == Trial.ERROR or trial.trial_id not in self.best:
            return "failed"
        return "completed" if trial.last_result["epoch"] >= self.config.train.epochs else "pruned"

    def _result(self, number: int, trial: Trial) -> TrialResult:
        status = self._status(trial)
        best = self.best.get(trial.trial_id)
        found = best_checkpoint(Path(trial.path)) if status != "failed" else None
        return TrialResult(
            number=number,
            overrides=dict(trial.config),
            status=status,
            score=best[METRIC] if best and status != "failed" else None,
            template=best["template_mpck4"] if best else None,
            epochs=trial.last_result.get("epoch", 0),
            config_hash=self.config.with_overrides(trial.config).hash(),
            checkpoint=str(found[0]) if found else None,
            error=_error_line(trial) if status == "failed" else None,
        )


def _error_line(trial: Trial) -> str:
    """The last line of the trial's traceback."""
    error = trial.get_error()
    lines = [line for line in str(error).splitlines() if line.strip()] if error else []
    return lines[-1].strip() if lines else "it ended without a result"
