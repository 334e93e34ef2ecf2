"""Which trials a search started more than once, as its events tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from capetune.runs.diary import read_events

Cause = Literal["lost", "went on", "either"]


@dataclass
class Starts:
    """A trial that was started again. again: of each time, how many epochs it had finished, and why: its process was
    lost, the search was cut off and went on, or one of the two."""

    trial: int
    again: list[tuple[int, Cause]] = field(default_factory=list)


@dataclass
class _Heard:
    starts: Starts
    epoch: int = 0
    started: bool = False
    lost: bool = False


def read_starts(folder: Path, pauses: bool = False) -> tuple[list[Starts], int]:
    """Of the search in that folder, the trials that were started again, by number, and how many machines were lost.

    pauses: the scheduler lets trials wait and starts them again itself; then only lost processes count. Lines that are
    damaged or of a kind unheard of are passed over.
    """
    heard: dict[int, _Heard] = {}
    machines = 0
    for event in read_events(folder):
        number, kind = event.get("trial"), event.get("event")
        machines += kind == "node_lost"
        if not isinstance(number, int):
            continue
        trial = heard.setdefault(number, _Heard(Starts(number)))
        epoch = event["epoch"] if isinstance(event.get("epoch"), int) else trial.epoch
        typed, kind = kind is not None, kind or _kind(event, trial, epoch)
        if kind == "trial_started":
            if trial.started and (trial.lost or not pauses):
                trial.starts.again.append((epoch, "lost" if trial.lost else "went on" if typed else "either"))
            trial.started, trial.lost = True, False
        elif kind == "trial_lost":
            trial.lost = True
        if kind in ("trial_started", "epoch_done", "trial_ended"):
            trial.epoch = epoch
    again = [trial.starts for trial in heard.values() if trial.starts.again]
    return sorted(again, key=lambda starts: starts.trial), machines


def _kind(event: dict[str, Any], trial: _Heard, epoch: int) -> str | None:
    """Of an event that was written before they had types: a start says `running` and no later epoch than before."""
    if event.get("state") != "running":
        return "trial_ended" if "state" in event else None
    return "epoch_done" if trial.started and epoch > trial.epoch else "trial_started"
