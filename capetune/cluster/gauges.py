"""The eight metrics of ours that a Ray hands on to Prometheus; deploy/grafana/capetune.json draws them.

They are Ray's own kind, so each machine's agent answers for its processes, and what a process told is gone some seconds
after its end. Ray puts `ray_` before the names and adds WorkerId, one for each process.
"""

from __future__ import annotations

import threading
import time
from collections import Counter as Count
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

from ray.util.metrics import Counter, Gauge, Histogram

from capetune.events import Event, JobChanged, Listener
from capetune.trial_events import TrialEnded, TrialStarted

OFTEN = 1.0  # seconds between two tellings of steps, at the least
AGAIN = 5.0  # seconds after which a gauge is set again: one that isn't for twenty is gone from Ray's answers
TAGS = ("run", "trial", "rank")
STEP_SECONDS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0]


@cache
def _instruments() -> dict[str, Any]:
    """Made once a process: trials that share one share these."""
    gauges = {
        "loss": "Training loss of the latest epoch, its mean over the steps",
        "mpck4": "Mean of PCK at .05, .10, .15 and .20 of the validation pairs after the latest epoch",
        "gpu_memory_bytes": "What PyTorch holds of the GPU's memory",
        "epoch": "Epochs done, with the share that is done of the one under way",
    }
    counters = {
        "images_total": "Images that training steps have seen",
        "data_wait_seconds_total": "Seconds that training has waited for data",
    }
    made: dict[str, Any] = {name: Gauge(f"capetune_{name}", said, TAGS) for name, said in gauges.items()}
    made |= {name: Counter(f"capetune_{name}", said, TAGS) for name, said in counters.items()}
    made["step_seconds"] = Histogram("capetune_step_seconds", "Seconds a training step", STEP_SECONDS, TAGS)
    made["trials"] = Gauge("capetune_trials", "Trials of a search, or jobs of a promotion", ("run", "state"))
    return made


class Gauges:
    """Values that are in sight until the end, however long none of them changes. A context manager."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._repeat, daemon=True, name="gauges")

    def __enter__(self) -> Gauges:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def set(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        self.values[name, tuple(tags.items())] = value
        _instruments()[name].set(value, dict(tags))

    def _repeat(self) -> None:
        while not self.over.wait(AGAIN):
            for (name, tags), value in list(self.values.items()):
                _instruments()[name].set(value, dict(tags))


class Meter:
    """What one training process tells of itself, about once a second.

    run, trial: names; a training has no trial. images: of each of this process's steps. memory: bytes of its GPU that
    are taken, None where it has none.
    """

    def __init__(
        self,
        run: str,
        trial: str,
        rank: int,
        images: int,
        gauges: Gauges,
        memory: Callable[[], int] | None = None,
    ) -> None:
        self.tags = {"run": run, "trial": trial, "rank": str(rank)}
        self.rank = rank
        self.images = images
        self.gauges = gauges
        self.memory = memory
        self.last = 0.0  # when the step before ended, 0: of this epoch none has
        self.told = 0.0
        self.seconds: list[float] = []  # of steps that are to be told of
        self.steps = 0

    def step(self, epoch: int, steps: int, step: int) -> None:
        """After every training step; `training.loop.fit` calls its `progress` so."""
        now = time.monotonic()
        if self.last:  # what lies before an epoch's first step is no step
            self.seconds.append(now - self.last)
        self.last = now
        self.steps += 1
        if now - self.told >= OFTEN or step == steps:
            self.told = now
            self._tell(epoch - 1 + step / steps)

    def _tell(self, epoch: float) -> None:
        told = _instruments()
        self.gauges.set("epoch", epoch, self.tags)
        if self.memory is not None:
            self.gauges.set("gpu_memory_bytes", self.memory(), self.tags)
        told["images_total"].inc(self.steps * self.images, self.tags)
        for seconds in self.seconds:
            told["step_seconds"].observe(seconds, self.tags)
        self.seconds, self.steps = [], 0

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """After every epoch, with its metrics. The score is all ranks', and told by the first."""
        self.last = 0.0
        self.gauges.set("epoch", metrics["epoch"], self.tags)
        self.gauges.set("loss", metrics["train_loss"], self.tags)
        if self.rank == 0:
            self.gauges.set("mpck4", metrics["mpck4"], self.tags)
        if metrics.get("seconds_data", 0.0) > 0:
            _instruments()["data_wait_seconds_total"].inc(metrics["seconds_data"], self.tags)


@contextmanager
def metered(run: str, trial: str, rank: int, images: int, device: str) -> Iterator[Meter]:
    """A meter of a training on that device, to its end."""
    memory = None
    if device.startswith("cuda"):
        import torch

        memory = partial(torch.cuda.memory_reserved, device)
    with Gauges() as gauges:
        yield Meter(run, trial, rank, images, gauges, memory)


@contextmanager
def states_counted(run: str, listener: Listener) -> Iterator[Listener]:
    """For the driver: the listener, which hears as before, and has a run's trials, or a promotion's jobs, counted by
    the state that events tell of."""
    states: dict[int | str, str] = {}
    said: set[str] = set()

    with Gauges() as gauges:

        def hear(event: Event) -> None:
            listener(event)
            if isinstance(event, TrialStarted | TrialEnded):
                states[event.trial] = "running" if isinstance(event, TrialStarted) else event.status
            elif isinstance(event, JobChanged):
                states[event.job] = event.state
            else:
                return
            counts = Count(states.values())
            said.update(counts)
            for state in said:  # those that have become none, too
                gauges.set("trials", counts[state], {"run": run, "state": state})

        yield hear
