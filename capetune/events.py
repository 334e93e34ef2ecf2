"""What happens while a verb runs, as facts with types. Who prints, draws, counts or tests decides how they look.

A listener is any function of one event. It is called on the thread that runs the verb, and should return soon. Written
down (a search's events.jsonl, `--json`), an event is its fields and its kind: a new field with a default may come, a
kind or a field never changes its meaning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Step = Literal[
    "imports",
    "opening",
    "data",
    "ray",
    "machines",
    "memory",
    "features",
    "workers",
    "evaluation",
    "prediction",
    "serving",
    "export",
    "steering",
]


@dataclass(frozen=True)
class Event:
    @property
    def kind(self) -> str:
        """EpochDone → epoch_done."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(self).__name__).lower()

    def to_json(self) -> dict[str, Any]:
        return {"event": self.kind, **asdict(self)}


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener that isn't interested."""


@dataclass(frozen=True)
class StepBegan(Event):
    """Something that takes seconds or more, and what it works on: a folder, a number of workers."""

    step: Step
    what: str = ""


@dataclass(frozen=True)
class Progress(Event):
    """How far a step is. what: the part of it, where it has several."""

    step: Step
    done: int
    total: int
    what: str = ""


@dataclass(frozen=True)
class DataDescribed(Event):
    """data: real or synthetic. missing_categories: part → names. mp100: how much of it there is, in words."""

    pack: str
    data: str
    split: int
    train_instances: int
    missing_categories: Mapping[str, Sequence[str]]
    mp100: str | None = None


@dataclass(frozen=True)
class ClusterJoined(Event):
    """token: the file whose content its dashboard asks for, None where that isn't known."""

    cpus: int
    gpus: int
    dashboard: str
    token: str | None


@dataclass(frozen=True)
class CheckPassed(Event):
    """check: what was looked at; found: what is there."""

    check: str
    found: str


@dataclass(frozen=True)
class Doubted(Event):
    """What was asked for is allowed, but hardly meant. why: one line."""

    why: str


@dataclass(frozen=True)
class StartChosen(Event):
    """A training begins with a checkpoint: with its weights, or, longer, with all that it goes on with. epoch: of the
    checkpoint. pack, split: what it was trained on. epochs: those to come, or in all."""

    checkpoint: str
    epoch: int
    pack: str
    split: int
    longer: bool
    epochs: int


@dataclass(frozen=True)
class Stretched(Event):
    """A training goes on to other epochs than it was begun with. done: epochs that are finished. rate: the learning
    rate after them, of that training; becomes: of this one. schedule: cosine or constant."""

    run: str
    done: int
    before: int
    epochs: int
    rate: float
    becomes: float
    schedule: str


@dataclass(frozen=True)
class CheckpointChosen(Event):
    """None was named: it is the best of the latest run. epoch: the one it is of."""

    checkpoint: str
    epoch: int | None = None


@dataclass(frozen=True)
class PictureLeftOut(Event):
    """A picture, or one of its boxes, can't be used; the others go on. why: in words."""

    picture: str
    why: str


@dataclass(frozen=True)
class Serving(Event):
    """A server answers from now on. url: of its page; link: that with the token, for a browser."""

    url: str
    link: str


@dataclass(frozen=True)
class RunComplete(Event):
    """There was nothing left to do. trials: of a search."""

    run: str
    trials: int | None = None


@dataclass(frozen=True)
class TrainingBegan(Event):
    """history: the metrics of the epochs that were finished before."""

    run: str
    epochs: int
    history: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True)
class PromotionBegan(Event):
    """jobs, done: in all, and those that were whole before. epochs: of each."""

    run: str
    folder: str
    data: str
    protocol: str
    jobs: int
    done: int
    epochs: int


@dataclass(frozen=True)
class WorkersCounted(Event):
    """How many workers an elastic training has from now on. batch: samples a step; asked: as configured."""

    run: str
    workers: int
    batch: int
    asked: int


@dataclass(frozen=True)
class WorkersBeganAgain(Event):
    """All workers of a training have begun again, for one was lost, or others came. epoch, step: from where they go on:
    epochs that are finished, and steps of the next. repeated: about how many steps are made a second time."""

    run: str
    epoch: int
    step: int
    repeated: int


@dataclass(frozen=True)
class StepsTraced(Event):
    """What the first worker did in some steps was written down, for Chrome's tracing. first, last: steps of that epoch,
    from 1; 0 where it had too few, and nothing is written."""

    run: str
    path: str
    epoch: int
    first: int
    last: int


@dataclass(frozen=True)
class EndedEarly(Event):
    """A training ends after that epoch: the last so many were no better than the best before them (train.patience)."""

    run: str
    epoch: int
    stale: int


@dataclass(frozen=True)
class StepsDone(Event):
    """How far a training is: about twice a second. epoch, step: from 1; steps: an epoch."""

    run: str
    epoch: int
    step: int
    steps: int


@dataclass(frozen=True)
class EpochDone(Event):
    """An epoch was trained, validated and kept. trial: its number, job: its name, where it is of a search's or of a
    promotion's. score, template: of the best epoch so far; metrics: of this one, as `training.loop.fit` reports them.
    """

    run: str
    epoch: int
    metrics: Mapping[str, float]
    trial: int | None = None
    job: str | None = None
    score: float | None = None
    template: float | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    twin: int | None = None


@dataclass(frozen=True)
class NodeLost(Event):
    """A machine of the cluster is gone."""

    node: str


@dataclass(frozen=True)
class JobChanged(Event):
    """state: running, scoring, ended or lost. scores: shots → official mPCK4, as far as it is scored."""

    run: str
    job: str
    state: Literal["running", "scoring", "ended", "lost"]
    scores: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckpointKept(Event):
    """The best so far of a training, or of a trial that has ended, and where it lies."""

    run: str
    epoch: int
    path: str
    trial: int | None = None


@dataclass(frozen=True)
class Ended(Event):
    """A run's record says so now. again: the command that goes on with it, None where it is completed."""

    run: str
    state: Literal["completed", "interrupted", "failed"]
    again: str | None = None


@dataclass(frozen=True)
class StageBegan(Event):
    """Of a verb that is made of others. seconds: since it began."""

    stage: str
    seconds: float
