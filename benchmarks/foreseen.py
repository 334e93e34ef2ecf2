"""A sampler that sees trials which were stopped, or run still, by an estimate of what they would reach at their end.

As Optuna's samplers are, tpe holds a running trial for a poor one, however good its epochs are, and ranks a stopped one
by how far it got first; gp and cmaes don't know it. With many places most trials are such. Not part of capetune: it is
here to be measured (docs/decisions/037-replayed.md).
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Container, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

Space = dict[str, BaseDistribution]


class Foreseen(BaseSampler):
    """The given sampler, for studies of one metric, the more the better."""

    def __init__(self, sampler: BaseSampler) -> None:
        self.sampler = sampler

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> Space:
        return self.sampler.infer_relative_search_space(as_seen(study), trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: Space) -> dict[str, Any]:
        return self.sampler.sample_relative(as_seen(study), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.sampler.sample_independent(as_seen(study), trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self.sampler.after_trial(study, trial, state, values)


def estimated(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials; those that have scores and didn't end of themselves are complete, with their best score and what the
    median trial gained from their epoch to the last one, epoch by epoch of those that had both."""
    bests = {trial.number: _bests(trial) for trial in trials if trial.intermediate_values}
    gains = defaultdict(list)
    for curve in bests.values():
        for epoch, (before, after) in enumerate(pairwise(curve), start=1):
            gains[epoch].append(after - before)
    left = {len(gains) + 1: 0.0}
    for epoch in range(len(gains), 0, -1):
        left[epoch] = left[epoch + 1] + float(np.median(gains[epoch]))
    found = []
    for trial in trials:
        if trial.number in bests and trial.state in (TrialState.RUNNING, TrialState.PRUNED):
            trial, curve = copy.copy(trial), bests[trial.number]
            trial.state, trial.value = TrialState.COMPLETE, curve[-1] + left[len(curve)]
        found.append(trial)
    return found


def _bests(trial: FrozenTrial) -> list[float]:
    """The best score up to each epoch."""
    return list(accumulate((score for _, score in sorted(trial.intermediate_values.items())), max))


def as_seen(study: optuna.Study) -> Any:
    return _View(study)


class _View:
    """A study with its trials as estimated. Optuna's samplers ask it for them by `_get_trials`."""

    def __init__(self, study: optuna.Study) -> None:
        self.study = study

    def __getattr__(self, name: str) -> Any:
        return getattr(self.study, name)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        found = estimated(self.study.get_trials(deepcopy=False))
        return [trial for trial in found if states is None or trial.state in states]

    get_trials = _get_trials
