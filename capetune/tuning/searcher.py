"""What Tune asks for trials: while there is room, unfinished ones of Optuna's study, then new ones; or given jobs.

Ray's own OptunaSearch can't hand out a trial a second time, dies where the storage is ahead of Tune's snapshot, and
tells a pruned trial as complete (docs/decisions/008).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from ray.tune.search import Searcher

from capetune.events import Listener
from capetune.runs.results import saved_overrides, trial_folder
from capetune.trial_events import NoMoreTrials, TrialRefused, TrialSpared
from capetune.tuning.goal import Goal
from capetune.tuning.room import Room
from capetune.tuning.space import Space
from capetune.tuning.telling import frozen
from capetune.tuning.twins import ADDED, Twins, repeats_wait

ASKED = 50  # times that a sampler is asked anew where a proposal was tried already


class JobSearcher(Searcher):
    """Proposes {"job"}, each of the given jobs once, as there is room. room: None: there always is."""

    def __init__(self, jobs: Sequence[Any], room: Room | None) -> None:
        super().__init__()
        self.left = list(jobs)
        self.room = room
        self.begun: set[str] = set()

    def __getstate__(self) -> dict:
        return {}  # Tune pickles it with its own state, from which nothing is read; a watcher that it asks can't be

    def suggest(self, trial_id: str) -> Any:
        if not self.left:
            return Searcher.FINISHED
        if self.room is not None and self.room.full(len(self.begun)):
            return None
        proposed = self.propose(self.left.pop(0))
        if proposed is None:
            self.left.clear()
            return Searcher.FINISHED
        self.begun.add(trial_id)
        return proposed

    def propose(self, job: Any) -> dict[str, Any] | None:
        """None where there is nothing more to try."""
        return {"job": job}

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        self.begun.discard(trial_id)
        if self.room is not None:
            self.room.ended()

    def save(self, checkpoint_path: str) -> None:
        pass  # the study's storage and the trials' folders are what a search goes on from

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a search goes on by `run_search`, not by Tune's restore")


class StudySearcher(JobSearcher):
    """Proposes {"number", "overrides"}, the number being the trial's in the study. `run_search` tells how they end.

    folder: of the run. unfinished: trials of the study that go on, with their own values. fresh: how many to ask for
    after them, those not counted whose configuration another trial had. over: says why no more are wanted, None while
    they are. say: hears of those that are spared, and why no more are tried. added: the next point that was asked for
    since the search began, with its name; those come before all that is fresh.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        folder: Path,
        unfinished: Sequence[FrozenTrial],
        fresh: int,
        twins: Twins,
        over: Callable[[], str | None],
        say: Listener,
        room: Room | None = None,
        added: Callable[[], tuple[str, dict[str, Any]] | None] = lambda: None,
    ) -> None:
        super().__init__([*unfinished, *[None] * fresh], room)
        self.added = added
        self.folder = folder
        self.study = study
        self.space = space
        self.twins = twins
        self.over = over
        self.say = say
        self.ended = False  # nothing is left to try

    def wanted(self, fresh: int) -> None:
        """From now on so many are to be asked for after the unfinished ones."""
        self.left = [*(job for job in self.left if job is not None), *[None] * fresh]
        self.ended = False

    def propose(self, job: FrozenTrial | None) -> dict[str, Any] | None:
        for _ in range(ASKED):
            point = self.added() if job is None else None
            if point is not None:
                job = self._begun(*point)
            if job is None and (why := self._over()) is not None:
                break
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # gp's, that it clips the infinite scores of what diverged
                trial = self.study.ask() if job is None else optuna.trial.Trial(self.study, job._trial_id)
                drawn = self.space.suggest(trial)
            overrides = saved_overrides(trial_folder(self.folder, trial.number))
            why = self.twins.refused(trial.number, drawn) if overrides is None else None
            if why is not None:
                self.say(TrialRefused(self.folder.name, trial.number, why, drawn))
                job = None
                continue
            twin = self.twins.spared(trial.number, drawn) if overrides is None else None
            if twin is None:
                added = {"added": trial.user_attrs[ADDED]} if ADDED in trial.user_attrs else {}
                return {"number": trial.number, "overrides": overrides or drawn, **added}
            source = self.twins.earlier[twin].name if twin in self.twins.earlier else None
            self.say(TrialSpared(self.folder.name, trial.number, twin, drawn, source))
            job = None
        else:
            limited = "parameters" in self.space.header.constraints
            why = f"{ASKED} proposals on end had been tried already{', or are over a limit' * limited}"
        self.ended = True
        self.say(NoMoreTrials(self.folder.name, why))
        return None

    def _begun(self, name: str, point: dict[str, Any]) -> FrozenTrial:
        """A point as a trial of the study that runs: in Optuna's queue it would come after those that wait there."""
        attributes = {ADDED: name}
        self.study.add_trial(frozen(self.space, Goal.of(self.space.header), point, None, {}, attributes))
        return self.study.get_trials(deepcopy=False)[-1]

    @cached_property
    def _points(self) -> set[str | None]:
        """The hashes of all configurations that may be tried; none where they can't be counted."""
        return {self.twins.hash(point) for point in self.space.countable(self.twins.search.config) or ()}

    def _over(self) -> str | None:
        if repeats_wait(self.study):
            return None
        if self._points and self._points <= self.twins.numbers.keys():
            return f"all {len(self._points)} configurations of the space have been tried"
        return self.over()
