"""What Tune asks for trials: while there is room, unfinished ones of Optuna's study, then new ones; or given jobs.

Ray's own OptunaSearch can't hand out a trial a second time, dies where the storage is ahead of Tune's snapshot, and
tells a pruned trial as complete (docs/decisions/008).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from ray.tune.search import Searcher

from capetune.runs.results import saved_overrides, trial_folder
from capetune.tuning.room import Room
from capetune.tuning.space import Space


class JobSearcher(Searcher):
    """Proposes {"job"}, each of the given jobs once, as there is room. room: None: there always is."""

    def __init__(self, jobs: Sequence[Any], room: Room | None) -> None:
        super().__init__()
        self.left = list(jobs)
        self.room = room
        self.begun: set[str] = set()

    def suggest(self, trial_id: str) -> Any:
        if not self.left:
            return Searcher.FINISHED
        if self.room is not None and self.room.full(len(self.begun)):
            return None
        self.begun.add(trial_id)
        return self.propose(self.left.pop(0))

    def propose(self, job: Any) -> Any:
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
    after them.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        folder: Path,
        unfinished: Sequence[FrozenTrial],
        fresh: int,
        room: Room | None = None,
    ) -> None:
        super().__init__([*unfinished, *[None] * fresh], room)
        self.folder = folder
        self.study = study
        self.space = space

    def propose(self, job: FrozenTrial | None) -> Any:
        trial = self.study.ask() if job is None else optuna.trial.Trial(self.study, job._trial_id)
        drawn = self.space.suggest(trial)
        overrides = saved_overrides(trial_folder(self.folder, trial.number)) or drawn
        return {"number": trial.number, "overrides": overrides}
