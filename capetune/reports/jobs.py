"""A cluster's jobs, and what they say."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from rich.console import Console

from capetune import events, trial_events
from capetune.cluster.jobs import Job
from capetune.reports.fitting import Fitting
from capetune.reports.screen import Screen
from capetune.reports.words import clock, short
from capetune.runs.metrics import title

KINDS = {kind.__name__: kind for kind in {**vars(events), **vars(trial_events)}.values() if isinstance(kind, type)}


def jobs_table(jobs: Iterable[Job]) -> Fitting:
    rows = []
    for job in jobs:
        begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.begun)) if job.begun else "–"
        took = clock((job.ended or time.time()) - job.begun) if job.begun else "–"
        rows.append((job.id, job.state.lower(), job.verb, job.name, begun, took))
    return Fitting(("job", "state", "verb", "run", "begun", "took"), rows)


def state_line(job: Job) -> str:
    """How it stands, and why where it didn't end well."""
    why = f": {job.why}" if job.why and job.state in ("PENDING", "FAILED") else ""
    return f"job {job.id}: {job.state.lower()}{why}"


def stopped_line(job: Job) -> str:
    """The same, after it was told to end."""
    if job.state == "PENDING":
        return f"job {job.id}: told to end; it waits for room still, and ends in place of beginning"
    return state_line(job) if job.over else f"job {job.id}: told to end, and still at it; see capetune logs {job.id}"


def event_of(line: str) -> events.Event | None:
    """The event in a line of a job's log, None where it is something else."""
    if not line.startswith('{"event": '):
        return None
    try:
        tree = json.loads(line)
        kind: Any = KINDS["".join(word.title() for word in tree.pop("event").split("_"))]
        known = {each.name for each in fields(kind)}  # a newer capetune may tell more
        return kind(**{name: value for name, value in tree.items() if name in known})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def show_log(lines: Iterable[str], console: Console) -> None:
    """The events as the command itself shows them, other lines as they are."""
    with Screen(console) as screen:
        for line in lines:
            event = event_of(line)
            if event is not None:
                screen.hear(event)
            elif line.startswith('{"event": "result"'):
                for told in result_lines(json.loads(line)):
                    console.print(told, soft_wrap=True)
            else:
                console.print(line, soft_wrap=True)


def result_lines(tree: dict[str, Any]) -> list[str]:
    """What a verb's result says in one value each, and the best of a search's trials."""
    said = {name: value for name, value in tree.items() if name != "event" and isinstance(value, str | int | float)}
    lines = ["result: " + ", ".join(f"{name} {value}" for name, value in said.items())]
    trials = [trial for trial in tree.get("trials") or () if isinstance(trial, dict)]
    best = next((trial for trial in trials if trial.get("score") is not None), None)  # they come best first
    if best is not None:
        metric, folder = title(str((tree.get("goal") or ["mpck4"])[0])), tree.get("folder", "")
        values = "  ".join(f"{key}={short(value)}" for key, value in best.get("overrides", {}).items())
        beside = f" (template {best['template']:.3f})" if metric == "mPCK4" and best.get("template") else ""
        score = f"{metric} {best['score']:.3f}{beside}"
        lines.append(f"{len(trials)} trials; best: trial {best['number']}, {score}  {values}")
        if best.get("checkpoint"):
            lines.append(f"checkpoint: {folder}/{best['checkpoint']}")
    return lines
