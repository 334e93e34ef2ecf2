"""What happens in a search, beside what happens in any verb: it begins, and what becomes of its trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from capetune.events import Event


@dataclass(frozen=True)
class TrialChosen(Event):
    """A trial of an earlier search is what this verb works with. state: of that search. epochs: those that its trials
    were trained for, where they are kept, as none were asked for."""

    search: str
    trial: int
    state: str
    file: str
    epochs: int | None = None


@dataclass(frozen=True)
class SearchBegan(Event):
    """trials, epochs: the most there will be, in all and of each. keys: those varied, in the space's order."""

    run: str
    trials: int
    epochs: int
    keys: tuple[str, ...]
    metrics: tuple[str, ...]
    modes: tuple[Literal["max", "min"], ...]


@dataclass(frozen=True)
class TrialStarted(Event):
    """A trial begins, or goes on after `epoch` finished ones. twin: the first trial that had its configuration."""

    run: str
    trial: int
    overrides: Mapping[str, Any]
    epoch: int = 0
    score: float | None = None
    template: float | None = None
    twin: int | None = None


@dataclass(frozen=True)
class TrialEnded(Event):
    """status: as `runs.results.TrialResult`'s. earlier: it had ended before this sitting of the search began.
    over: which limits it is over, in words; it can't be the best."""

    run: str
    trial: int
    status: str
    overrides: Mapping[str, Any]
    epoch: int
    score: float | None
    template: float | None
    twin: int | None = None
    error: str | None = None
    earlier: bool = False
    over: str | None = None


@dataclass(frozen=True)
class TrialLost(Event):
    """Its process was lost; it is tried again, once, from its latest epoch."""

    run: str
    trial: int
    epoch: int


@dataclass(frozen=True)
class TrialSpared(Event):
    """A proposed trial isn't trained: `twin` has its configuration already, and that one's result is the sampler's.
    source: which trial of an earlier search that is."""

    run: str
    trial: int
    twin: int
    overrides: Mapping[str, Any]
    source: str | None = None


@dataclass(frozen=True)
class TrialRefused(Event):
    """A proposed trial isn't trained: its configuration can't keep to the space's constraints. why: in words."""

    run: str
    trial: int
    why: str
    overrides: Mapping[str, Any]


@dataclass(frozen=True)
class SearchSteered(Event):
    """A running search has taken up a request from outside, the one of that number. added: how many points are tried
    next. stopped: trials that end. trials: how many there are to be in all from now on, in place of `before`. waiting:
    points that aren't tried, for there are no trials left for them."""

    run: str
    request: int
    added: int
    stopped: tuple[int, ...]
    trials: int
    before: int
    waiting: int = 0


@dataclass(frozen=True)
class NoMoreTrials(Event):
    """A search tries nothing more, before its budget is spent; what runs goes on to its end."""

    run: str
    why: str
