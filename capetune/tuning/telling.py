"""What Optuna's study is told of the trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from capetune.runs.results import TrialResult
from capetune.tuning.goal import Goal
from capetune.tuning.limits import set_excess
from capetune.tuning.space import Space


def tell_epochs(study: optuna.Study, number: int, epochs: Sequence[tuple[int, float]]) -> None:
    """Let the study of one metric know a running trial's scores, by which samplers judge those that are pruned."""
    if len(study.directions) > 1:
        return  # Optuna takes none of two metrics
    storage = study._storage  # `study.get_trials` copies all trials, for each epoch of each
    identity = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    trial = storage.get_trial(identity)
    for epoch, score in epochs:
        if epoch not in trial.intermediate_values and not trial.state.is_finished():
            storage.set_trial_intermediate_value(identity, epoch, score)


def tell(study: optuna.Study, result: TrialResult, goal: Goal) -> None:
    """Let the study know how a trial ended; one that it knows of stays as it is. One that diverged is the worst there
    is: a sampler that weren't told would go on proposing what diverges."""
    tell_epochs(study, result.number, result.history)
    set_excess(study, result.number, result.excess)
    state = _state(result, goal)
    values = goal.values(result) if state == TrialState.COMPLETE else None
    study.tell(result.number, values, state, skip_if_finished=True)


def _state(result: TrialResult, goal: Goal) -> TrialState:
    """What Optuna calls its end. One that was halted is pruned; of two metrics, by which Optuna prunes none, or without
    an epoch, it tells nothing of its values, and the sampler passes it over."""
    one = len(goal.metrics) == 1
    if result.status == "failed" or (result.status == "halted" and (result.score is None or not one)):
        return TrialState.FAIL
    return TrialState.PRUNED if result.status in ("pruned", "halted") and one else TrialState.COMPLETE


def frozen(
    space: Space,
    goal: Goal,
    overrides: Mapping[str, Any],
    result: TrialResult | None,
    epochs: Mapping[int, float],
    attributes: Mapping[str, Any] | None = None,
) -> FrozenTrial:
    """A trial as a study would know it, had it been told of it: as it ended or, without a result, as one that runs.

    epochs: its scores; attributes: for the study's user. Values outside the space's ranges are left out.
    """
    ranges = {key: space.parameters[key].distribution for key in overrides if key in space.parameters}
    values = {key: value for key, value in overrides.items() if key in ranges and _within(ranges[key], value)}
    one = len(goal.metrics) == 1
    state, scores = TrialState.RUNNING, None
    if result is not None and result.status != "stopped":
        state = _state(result, goal)
        scores = goal.values(result) if state == TrialState.COMPLETE else None
    return create_trial(
        state=state,
        values=scores,
        params=values,
        distributions={key: ranges[key] for key in values},
        intermediate_values=dict(epochs) if one and state != TrialState.FAIL else {},
        user_attrs=dict(attributes or {}),
        constraints=None if result is None else result.excess,
    )


def _within(distribution: BaseDistribution, value: Any) -> bool:
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (ValueError, TypeError):
        return False
