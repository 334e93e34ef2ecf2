"""What happened to a run, in its folder: a line of JSON an event, with the time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from capetune.events import (
    Event,
    JobChanged,
    Listener,
    NodeLost,
    StepsTraced,
    TrainingBegan,
    WorkersBeganAgain,
    WorkersCounted,
)
from capetune.storage.scratch import named

EVENTS = "events.jsonl"
NOTED = (TrainingBegan, WorkersCounted, WorkersBeganAgain, StepsTraced, JobChanged, NodeLost)


def write_event(folder: Path, event: Event) -> None:
    """Add a line to the diary of the run in that folder."""
    with (folder / EVENTS).open("a") as stream:
        stream.write(named(json.dumps({"time": round(time.time(), 3), **event.to_json()})) + "\n")


def noted(folder: Path, listener: Listener) -> Listener:
    """The listener of a training's or a promotion's events, which are written down too as far as no other file tells
    of them. Of the history that a training goes on from that is the last epoch."""

    def hear(event: Event) -> None:
        if isinstance(event, NOTED):
            short = replace(event, history=event.history[-1:]) if isinstance(event, TrainingBegan) else event
            write_event(folder, short)
        listener(event)

    return hear


def read_events(folder: Path) -> Iterator[dict[str, Any]]:
    """The diary's lines, none where there is no diary. Damaged ones are passed over."""
    file = folder / EVENTS
    for line in file.read_text(errors="replace").splitlines() if file.is_file() else ():
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event
