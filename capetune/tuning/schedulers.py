"""What stops poor trials early: Tune's schedulers, and what they must be told when a search goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)

from capetune.config import Config
from capetune.errors import UserError
from capetune.runs.history import read_history
from capetune.runs.results import TrialResult, trial_folder
from capetune.tuning.goal import Goal
from capetune.tuning.limits import MEASURED
from capetune.tuning.space import Parameter, Space

# Values that a trial can change while it trains; others shape its network, its data or its schedule.
CHANGEABLE = (
    *("loss.", "train.learning_rate", "train.weight_decay", "train.clip", "train.input_noise"),
    *("train.prefix_dropout", "data.rotation", "data.scale", "data.flip", "data.shots"),
)


def make_scheduler(space: Space, config: Config, run: Path) -> TrialScheduler:
    """run: the search's folder, from which ASHA and the median rule know what a trial that goes on has reached.

    Raises UserError where the space holds what its scheduler can't vary.
    """
    settings, goal = space.header.scheduler, Goal.of(space.header)
    common: dict[str, Any] = {"time_attr": "epoch", "metric": goal.metric, "mode": goal.modes[0]}
    if settings.name == "asha":
        longest = config.train.epochs
        grace = min(settings.grace, longest)
        return _Asha(run, **common, max_t=longest, grace_period=grace, reduction_factor=settings.factor)
    if settings.name == "hyperband":
        return HyperBandScheduler(**common, max_t=config.train.epochs, reduction_factor=settings.factor)
    if settings.name == "median":
        return _Median(run, **common, grace_period=settings.grace)
    if settings.name == "pbt":
        for key, parameter in space.parameters.items():
            if not key.startswith(CHANGEABLE) or parameter.when:
                raise UserError(
                    f"{space.source}, line {parameter.line}: {key} can't change while a trial trains, as pbt wants; "
                    f"it varies {', '.join(key.rstrip('.') for key in CHANGEABLE)}, without conditions"
                )
        return _Exchange(space, perturbation_interval=settings.grace, **common)
    return FIFOScheduler()


def carries_checkpoints(space: Space) -> bool:
    """Whether the scheduler pauses trials or gives one's weights to another, for which it needs their checkpoints."""
    return space.header.scheduler.name in ("hyperband", "pbt", "median")


def rungs(space: Space, config: Config) -> list[int]:
    """The epochs after which ASHA compares; none of another scheduler."""
    settings = space.header.scheduler
    found, epoch = [], settings.grace
    while settings.name == "asha" and epoch < config.train.epochs:
        found.append(epoch)
        epoch *= settings.factor
    return found


def ends(space: Space, config: Config) -> frozenset[int] | None:
    """The epochs after which a trial may end: its last one, and where the scheduler may stop it; None: any."""
    if space.header.scheduler.name not in ("asha", "none"):
        return None
    first = [1] if set(MEASURED) & set(space.header.constraints) else []  # where it may be over a limit
    return frozenset([*first, *rungs(space, config), config.train.epochs])


def recall(scheduler: TrialScheduler, results: Sequence[TrialResult], others: Sequence[TrialResult] = ()) -> None:
    """Tell ASHA or the median rule of trials that ended before, so that new ones are measured by them too. others: of
    earlier searches, whose folders aren't here."""
    if isinstance(scheduler, _Remembers):
        controller: Any = SimpleNamespace(get_live_trials=list)
        for result in results:
            trial: Any = _Earlier(result.number)
            scheduler.on_trial_add(controller, trial)
        for number, result in enumerate(others):
            trial = _Earlier(f"other-{number}")
            trial.history = [{"epoch": epoch, scheduler._metric: score} for epoch, score in result.history]
            scheduler.on_trial_add(controller, trial)


class _Earlier:
    """As much of a trial as schedulers ask for."""

    history: list[dict[str, float]] | None = None  # None: it is in its folder

    def __init__(self, number: int | str) -> None:
        self.trial_id = f"earlier-{number}"
        self.config = {"number": number}


class _Remembers(TrialScheduler):
    """Hears the epochs that a trial has in its folder when the trial is added; what they would have led to is past."""

    def __init__(self, run: Path, **settings: Any) -> None:
        super().__init__(**settings)
        self.run = run

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        super().on_trial_add(tune_controller, trial)
        known = trial.history if isinstance(trial, _Earlier) else None
        for metrics in read_history(trial_folder(self.run, trial.config["number"])) if known is None else known:
            super().on_trial_result(tune_controller, trial, metrics)


class _Asha(_Remembers, ASHAScheduler):
    pass


class _Median(_Remembers, MedianStoppingRule):
    pass


class _Exchange(PopulationBasedTraining):
    """Population based training that keeps values within their ranges and each trial its own number."""

    def __init__(self, space: Space, **settings: Any) -> None:
        self.ranges = space.parameters
        mutations = {key: _mutations(parameter) for key, parameter in space.parameters.items()}
        super().__init__(hyperparam_mutations={"overrides": mutations}, **settings)

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Ray refuses searchers, which would learn from values that trials no longer have; ours draws at random."""
        controller: Any = SimpleNamespace(search_alg=None)
        super().on_trial_add(controller, trial)

    def _get_new_config(self, trial: Trial, trial_to_clone: Trial) -> tuple[dict, dict]:
        config, operations = super()._get_new_config(trial, trial_to_clone)
        config["number"] = trial.config["number"]
        for key, parameter in self.ranges.items():
            kind = parameter.distribution
            if isinstance(kind, FloatDistribution | IntDistribution):
                config["overrides"][key] = min(max(config["overrides"][key], kind.low), kind.high)
        return config, operations


def _mutations(parameter: Parameter) -> Any:
    kind = parameter.distribution
    if isinstance(kind, CategoricalDistribution):
        return list(kind.choices)
    assert isinstance(kind, FloatDistribution | IntDistribution)
    if isinstance(kind, IntDistribution):
        return tune.lograndint(kind.low, kind.high + 1) if kind.log else tune.randint(kind.low, kind.high + 1)
    return tune.loguniform(kind.low, kind.high) if kind.log else tune.uniform(kind.low, kind.high)
