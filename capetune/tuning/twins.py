"""Configurations that a search has trained, or trains at the moment: none of them is trained a second time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from capetune.errors import UserError
from capetune.runs.results import TrialResult
from capetune.tuning.limits import known_excess, over, set_excess
from capetune.tuning.search import Search
from capetune.tuning.space import Budget
from capetune.tuning.telling import tell
from capetune.tuning.warm import EARLIER, Earlier

# Attributes of a study's trials:
REFUSED = "capetune:refused"  # of one that wasn't trained: over which limit it is
TWIN = "capetune:twin"  # of one that wasn't trained: the number of the one that was
AGAIN = "capetune:again"  # of one that repeats a failed one: that one's number
ADDED = "capetune:added"  # of one that was asked for while the search ran: which point of which request it is
HASHES = 1024  # of the latest configurations, that are kept


class Twins:
    """Which trial had a configuration first. ended: those that did, by number; it may grow. earlier: those of the study
    that other searches trained, by their numbers here."""

    def __init__(
        self,
        search: Search,
        study: optuna.Study,
        ended: Mapping[int, TrialResult],
        earlier: Mapping[int, Earlier] | None = None,
    ) -> None:
        self.search = search
        self.study = study
        self.ended = ended
        self.numbers: dict[str, int] = {}
        self._hash = lru_cache(HASHES)(self._hash_of)  # asked for at each epoch
        for result in ended.values():
            self.first(result.number, result.config_hash)
        self.earlier = earlier or {}
        for number, each in self.earlier.items():
            self.first(number, self.hash(each.overrides))

    def hash(self, overrides: dict[str, Any]) -> str | None:
        """The hash of the whole configuration; None for values that don't go together: the trial will fail of it."""
        return self._hash(json.dumps(overrides))

    def _hash_of(self, overrides: str) -> str | None:
        try:
            return self.search.config.with_overrides(json.loads(overrides)).hash()
        except UserError:
            return None

    def first(self, number: int, config_hash: str | None) -> int | None:
        """The first other trial that had this configuration."""
        first = number if config_hash is None else self.numbers.setdefault(config_hash, number)
        return None if first == number else first

    def refused(self, number: int, overrides: dict[str, Any]) -> str | None:
        """Over which limit this new trial of the study would be, in words; None where it may be trained. The study is
        told that, and of the worst scores there are."""
        goal, limits = self.search.goal, self.search.space.header.constraints
        excess = known_excess(limits, self.search.config, overrides)
        why = over(excess)
        if why is not None:
            self.first(number, self.hash(overrides))
            mine = self.study.get_trials(deepcopy=False)[number]
            optuna.trial.Trial(self.study, mine._trial_id).set_user_attr(REFUSED, why)
            set_excess(self.study, number, excess)
            self.study.tell(number, goal.worst)
        return why

    def spared(self, number: int, overrides: dict[str, Any]) -> int | None:
        """The trial whose configuration this new one of the study would repeat; None where it is to be trained.

        The study is told that one's scores for this one too. Where it hasn't ended, or failed, as it may have of
        something that is over, there are none: while it trains this one is told as failed, and a failed one's values
        may be trained again.
        """
        first = self.first(number, self.hash(overrides))
        result = None if first is None else self._result(first)
        if first is None or (result is not None and result.status == "failed"):
            return None
        mine = self.study.get_trials(deepcopy=False)[number]
        optuna.trial.Trial(self.study, mine._trial_id).set_user_attr(TWIN, first)
        if result is not None and result.status in ("completed", "pruned", "halted", "diverged"):
            tell(self.study, replace(result, number=number), self.search.goal)
        else:
            self.study.tell(number, state=TrialState.FAIL)
        return first

    def _result(self, number: int) -> TrialResult | None:
        return self.earlier[number].result if number in self.earlier else self.ended.get(number)


def queue_failed(study: optuna.Study, results: Sequence[TrialResult]) -> None:
    """Let the study propose the values of the failed trials again, each once, before anything else."""
    trials = study.get_trials(deepcopy=False)
    queued = {trial.user_attrs.get(AGAIN) for trial in trials}
    for result in results:
        if result.status == "failed" and result.number not in queued:
            study.enqueue_trial(trials[result.number].params, user_attrs={AGAIN: result.number})


def due(study: optuna.Study, budget: Budget) -> int:
    """How many trials are to be begun yet: the budget's that no other spares, and failed ones again."""
    assert budget.trials is not None
    repeated = sum(AGAIN in trial.user_attrs for trial in study.get_trials(deepcopy=False))
    return max(0, budget.trials - len(begun(study)) + repeated)


def begun(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that were begun here, whatever became of them, no twins."""
    trials = study.get_trials(deepcopy=False)
    own = [trial for trial in trials if not {TWIN, EARLIER, REFUSED} & trial.user_attrs.keys()]
    return [trial for trial in own if trial.state != TrialState.WAITING]


def repeats_wait(study: optuna.Study) -> bool:
    """Whether a failed trial is still to be repeated."""
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    return any(AGAIN in trial.user_attrs for trial in waiting)
