"""Optuna's study as Tune asks for it: unfinished trials again, then new ones.

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
from capetune.tuning.space import Space


class StudySearcher(Searcher):
    """Proposes {"number", "overrides"}, the number being the trial's in the study. `run_search` tells how they end.

    folder: of the run. unfinished: trials of the study that go on, with their own values. fresh: how many to ask for
    after them.
    """

    def __init__(
        self, study: optuna.Study, space: Space, folder: Path, unfinished: Sequence[FrozenTrial], fresh: int
    ) -> None:
        super().__init__()
        self.folder = folder
        self.study = study
        self.space = space
        self.unfinished = list(unfinished)
        self.fresh = fresh

    def suggest(self, trial_id: str) -> Any:
        if self.unfinished:
            trial = optuna.trial.Trial(self.study, self.unfinished.pop(0)._trial_id)
        elif self.fresh:
            self.fresh -= 1
            trial = self.study.ask()
        else:
            return Searcher.FINISHED
        drawn = self.space.suggest(trial)
        overrides = saved_overrides(trial_folder(self.folder, trial.number)) or drawn
        return {"number": trial.number, "overrides": overrides}

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        pass  # the study's storage and the trials' folders are what a search goes on from

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a search goes on by `run_search`, not by Tune's restore")
