"""What a search is, before anything of it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from capetune.config import Config
from capetune.datasets.packs.reader import Pack
from capetune.runs.results import TrialResult
from capetune.tuning.goal import Goal
from capetune.tuning.space import Budget, Space


@dataclass(frozen=True)
class Searched:
    """trials: all that ended, best first. left: those that its budget has, and that weren't tried to their end."""

    trials: list[TrialResult]
    left: int


@dataclass(frozen=True)
class Search:
    """config: its base, which is trial 0. folder: of the run. budget: of it all; hours are of this sitting. kept: how
    many trials keep their best checkpoint. storage: URL of a database in place of the journal. features: the folder of
    kept ones, which trials train on in place of images. study: the name of Optuna's, None where it is the folder's.
    lease: the number of that under which the run is worked on. fetch: where the folder is a copy of what lies at an
    address, brings what is there now of a part of it; as `runs.home.Desk` does. retry: train failed trials again, as
    new ones. steered, fixed, noted: as `Steering` has them.
    """

    config: Config
    space: Space
    pack: Pack
    folder: Path
    budget: Budget
    kept: int = 3
    storage: str | None = None
    features: Path | None = None
    study: str | None = None
    lease: int = 0
    fetch: Callable[[str], None] = lambda below: None
    retry: bool = False
    steered: int = 0
    fixed: bool = False
    noted: Callable[[int, int], None] = lambda goal, request: None

    @property
    def study_name(self) -> str:
        return self.study or self.folder.name

    @property
    def goal(self) -> Goal:
        return Goal.of(self.space.header)
