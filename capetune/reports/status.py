"""How a cluster's jobs stand: their trials, epochs and best scores, by what they wrote."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group
from rich.text import Text

from capetune import events, trial_events
from capetune.cluster.jobs import Job
from capetune.cluster.load import Load
from capetune.reports.fitting import Fitting
from capetune.reports.jobs import event_of
from capetune.reports.screen import waiting
from capetune.reports.words import clock, share


@dataclass
class Standing:
    """trials: number → state. epochs: finished ones. hours: that workers have trained and validated, times as many as
    a trial or training has. rates: images a second of those that train, in their latest epoch. best: the highest mPCK4,
    beside the template's on the same pairs. gpus: whether each of these workers has one."""

    wanted: int | None = None
    trials: dict[int, str] = field(default_factory=dict)
    epochs: int = 0
    hours: float = 0.0
    rates: dict[str, float] = field(default_factory=dict)
    best: float | None = None
    template: float | None = None
    gpus: bool = False
    doing: str = ""
    run: str = ""  # where its job has none: of a training without --name

    def hear(self, event: events.Event, workers: int) -> None:
        if isinstance(event, events.ClusterJoined):
            self.gpus = event.gpus > 0
        elif isinstance(event, events.StepBegan):
            self.doing = waiting(event).removesuffix(" …")
        elif isinstance(event, trial_events.SearchBegan):
            self.wanted, self.run = event.trials, event.run
        elif isinstance(event, events.TrainingBegan | events.PromotionBegan):
            self.run = event.run
        elif isinstance(event, trial_events.TrialStarted):
            self.trials[event.trial] = "running"
            self.doing = ""
        elif isinstance(event, trial_events.TrialEnded):
            self.trials[event.trial] = event.status
            self.rates.pop(str(event.trial), None)
            self._score(event.score, event.template)
        elif isinstance(event, events.EpochDone):
            seconds = event.metrics.get("seconds_data", 0.0) + event.metrics.get("seconds_steps", 0.0)
            who = str(event.job if event.trial is None else event.trial)
            self.rates[who] = event.metrics.get("images", 0.0) / seconds if seconds else 0.0
            self.doing = ""
            self.epochs += 1
            self.hours += event.metrics.get("seconds", 0.0) * workers / 3600
            self._score(event.metrics.get("mpck4"), event.metrics.get("template_mpck4"))

    @property
    def rate(self) -> float:
        """Images a second, of all that train."""
        return sum(self.rates.values())

    def _score(self, score: float | None, template: float | None) -> None:
        if score is not None and (self.best is None or score > self.best):
            self.best, self.template = score, template

    def counted(self) -> dict[str, int]:
        states = list(self.trials.values())
        return {state: states.count(state) for state in dict.fromkeys(states)}


def standing(job: Job, lines: Iterable[str]) -> Standing:
    found = Standing()
    for line in lines:
        event = event_of(line)
        if event is not None:
            found.hear(event, job.workers)
    return found


def status_document(load: Load, jobs: list[tuple[Job, Standing]], price: float | None) -> dict[str, Any]:
    rows = []
    for job, each in jobs:
        row = {**job.to_json(), "trials": each.counted(), "trials_wanted": each.wanted, "epochs": each.epochs}
        row |= {
            "images_a_second": 0.0 if job.over else round(each.rate, 1),
            "mpck4": each.best,
            "template_mpck4": each.template,
            "worker_hours": round(each.hours, 4),
        }
        row |= {"gpu_hours": round(each.hours, 4) if each.gpus else 0.0}
        rows.append(row | ({} if price is None else {"cost": round(row["gpu_hours"] * price, 2)}))
    return {"cluster": load.to_json(), "jobs": rows}


def status_lines(load: Load, jobs: list[tuple[Job, Standing]], price: float | None) -> Group:
    used = ", ".join(f"{load.used[name]:g} of {total:g} {name}s in use" for name, total in load.total.items())
    said = [Text(f"{load.machines} machine{'s' * (load.machines != 1)}: {used}")]
    for asked, count in load.waiting:
        what = ", ".join(f"{many:g} {name}{'s' * (many != 1)}" for name, many in asked.items())
        said.append(Text(f"asked for beyond what is there: {count} × {what}"))
    if not jobs:
        return Group(*said, Text("no job is running or waiting; `capetune jobs` lists those that ended"))
    names = ["job", "state", "run", "trials", "epochs", "images/s", "mPCK4", "template", "took", "hours"]
    names += ["cost"] if price is not None else []
    rows = []
    for job, each in jobs:
        trials = ", ".join(f"{count} {state}" for state, count in each.counted().items()) or "0" * bool(each.wanted)
        of = f" of {each.wanted}" if each.wanted else ""
        took = clock((job.ended or time.time()) - job.begun) if job.begun else "–"
        state = job.state.lower() + (f": {each.doing} …" if each.doing and not job.over else "")
        hours = f"{each.hours:.2f} {'GPU' if each.gpus else 'worker'} h"
        row = [
            job.id,
            state,
            job.name or each.run,
            f"{trials}{of}" or "–",
            str(each.epochs),
            "–" if job.over or not each.rate else f"{each.rate:.0f}",
            share(each.best),
            share(each.template),
        ]
        row += [took, hours, *([f"{each.hours * price * each.gpus:.2f}"] if price is not None else [])]
        rows.append(row)
    waits = [Text(f"{job.id} waits: {job.why}") for job, _ in jobs if job.state == "PENDING" and job.why]
    return Group(*said, Fitting(names, rows), *waits)
