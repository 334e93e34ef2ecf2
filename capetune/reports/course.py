"""What the folder of a training tells, gathered for its report."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from capetune.config import Config, parse_config
from capetune.errors import UserError
from capetune.reports.breaks import Breaks, read_breaks
from capetune.runs.diary import read_events
from capetune.runs.facts import describe_protocol
from capetune.runs.history import read_history
from capetune.runs.record import RECORD, Run

Epoch = dict[str, float]


@dataclass(frozen=True)
class Course:
    """A training. state: its run's `state_now`. history: every finished epoch's metrics, one at least. config: None
    where the record has none that can be read. traced: the latest StepsTraced of its diary, None where nothing was
    traced. notes: what couldn't be read, each a sentence."""

    run: Run
    state: str
    history: list[Epoch]
    config: Config | None
    breaks: Breaks
    traced: dict[str, Any] | None
    notes: list[str]

    @property
    def epochs(self) -> int | None:
        """How many it is to have."""
        return None if self.config is None else self.config.train.epochs

    @property
    def best(self) -> Epoch | None:
        """The epoch of the highest validation mPCK4, the first of equals: whose checkpoint is kept."""
        scored = [row for row in self.history if "mpck4" in row]
        return max(scored, key=lambda row: row["mpck4"], default=None)

    @property
    def template(self) -> float | None:
        """The template's mPCK4: the same after every epoch, on the same pairs."""
        return next((row["template_mpck4"] for row in self.history if "template_mpck4" in row), None)

    @property
    def rate(self) -> float | None:
        """Images a second that the steps took in, the median epoch's."""
        told = [row for row in self.history if {"images", "seconds_data", "seconds_steps"} <= row.keys()]
        taken = [(row["images"], row["seconds_data"] + row["seconds_steps"]) for row in told]
        return statistics.median([images / seconds for images, seconds in taken if seconds > 0] or [0.0]) or None

    @property
    def seconds(self) -> float:
        """What all epochs took, with what came after each."""
        keys = ("seconds", "seconds_checkpoint", "seconds_upload")
        return sum(row.get(key, 0.0) for row in self.history for key in keys)

    @property
    def protocol(self) -> dict[str, Any]:
        """What the scores of the epochs are scores of: protocol and shots; empty where nothing tells."""
        return {} if self.config is None else describe_protocol(self.config)


def read_course(run: Run) -> Course:
    """Raises UserError where no epoch has ended, or the history is damaged."""
    state, history = run.state_now, read_history(run.folder)
    if not history:
        cure = "wait for the first" if state == "running" else "give the command that began it again"
        raise UserError(f"no epoch of {run.name} has ended yet, so there is nothing to report; {cure}")
    config, notes = None, []
    try:
        config = parse_config(run.told("config"), str(run.folder / RECORD))
    except UserError as error:
        notes.append(f"The training's configuration can't be read: {error}.")
    traces = [event for event in read_events(run.folder) if event.get("event") == "steps_traced" and event.get("first")]
    return Course(run, state, history, config, read_breaks(run.folder), traces[-1] if traces else None, notes)
