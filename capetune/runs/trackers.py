"""MLflow and Weights & Biases: each trial, job or training a run there, which goes on with it.

They hear a verb's events in its own process, in a thread of their own: a Ctrl-C in the middle of a call would leave
their client unusable, and the run there as if it went on. What goes wrong with them once it runs is said, and ends
nothing.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Protocol

from capetune.config import Config, config_value, leaf_keys
from capetune.errors import UserError
from capetune.events import Doubted, Ended, EpochDone, Event, JobChanged, Listener, TrainingBegan
from capetune.runs.history import read_history
from capetune.runs.results import trial_name
from capetune.storage.scratch import plain_name
from capetune.storage.whole import write_aside
from capetune.trial_events import TrialEnded, TrialStarted

IDS = "trackers.json"  # in a run's folder: tracker → folder of a trial, a job or "" → id of the run there, last epoch
Tracker = Literal["mlflow", "wandb"]
State = Literal["ended", "cut off", "failed"]


class Service(Protocol):
    """One that takes runs. Its constructor says what is wrong before anything starts, by whatever it raises."""

    def begin(self, name: str, known: str | None, values: Mapping[str, Any]) -> str:
        """A run of that name, or the known one where it is there still. values: what it was started with."""

    def send(self, id: str, metrics: Mapping[str, float], epoch: int) -> None:
        """What came of an epoch, later than those sent before."""

    def end(self, id: str, state: State) -> None:
        """Nothing more comes for now."""


class MLflow:
    """In an experiment named as the run, where MLFLOW_TRACKING_URI says."""

    def __init__(self, run: str, folder: Path) -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI"))
        found = self.client.get_experiment_by_name(run)
        self.experiment = found.experiment_id if found else self.client.create_experiment(run)

    def begin(self, name: str, known: str | None, values: Mapping[str, Any]) -> str:
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException

        if known is not None:
            with suppress(MlflowException):  # it was deleted there, or that is another server
                self.client.update_run(known, status="RUNNING")
                return known
        id = str(self.client.create_run(self.experiment, run_name=name).info.run_id)
        said = [Param(key, str(value)[:6000]) for key, value in values.items()]
        for first in range(0, len(said), 100):  # as many as a server takes at once
            self.client.log_batch(id, params=said[first : first + 100])
        return id

    def send(self, id: str, metrics: Mapping[str, float], epoch: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(id, [Metric(name, value, now, epoch) for name, value in metrics.items()])

    def end(self, id: str, state: State) -> None:
        self.client.set_terminated(id, {"ended": "FINISHED", "cut off": "KILLED", "failed": "FAILED"}[state])


class Wandb:
    """In a group named as the run, in the project WANDB_PROJECT, else `capetune`; its files lie in the run's folder."""

    def __init__(self, run: str, folder: Path) -> None:
        import wandb

        self.library: Any = wandb
        self.group = run
        self.folder = folder.resolve()
        self.runs: dict[str, Any] = {}
        mode = os.environ.get("WANDB_MODE", "online")
        if mode not in ("offline", "disabled", "dryrun") and not wandb.api.api_key:
            raise ValueError("no API key: `wandb login`, or set WANDB_API_KEY, or WANDB_MODE=offline")

    def begin(self, name: str, known: str | None, values: Mapping[str, Any]) -> str:
        self.folder.mkdir(parents=True, exist_ok=True)
        run = self.library.init(
            project=os.environ.get("WANDB_PROJECT", "capetune"),
            group=self.group,
            name=name,
            id=known,
            resume="allow",
            mode=os.environ.get("WANDB_MODE"),  # as it is now, not when it was imported
            dir=str(self.folder),
            config=dict(values),
            reinit="create_new",
            settings=self.library.Settings(silent=True, console="off"),
        )
        self.runs[run.id] = run
        return str(run.id)

    def send(self, id: str, metrics: Mapping[str, float], epoch: int) -> None:
        self.runs[id].log(dict(metrics), step=epoch)

    def end(self, id: str, state: State) -> None:
        self.runs.pop(id).finish(exit_code=int(state != "ended"))


@contextmanager
def tracked(name: Tracker | None, folder: Path, listener: Listener, values: Mapping[str, Any]) -> Iterator[Listener]:
    """A listener of a run's events that passes them on, and sends what they tell to the tracker, where one is named.

    folder: of the run. values: of a training, or of all of a promotion's. Raises UserError where the tracker's package
    isn't installed, or its server can't be reached or knows us not.
    """
    if name is None:
        yield listener
        return
    run = plain_name(folder)
    with ThreadPoolExecutor(1, "tracker") as thread:
        try:
            made: Callable[[str, Path], Service] = MLflow if name == "mlflow" else Wandb
            service = thread.submit(made, run, folder).result()
        except ImportError:
            raise UserError(f"--track {name} needs another package: pip install 'capetune[{name}]'") from None
        except Exception as error:  # of either, or of the network
            raise UserError(f"--track {name}: {_line(error)}") from None
        tracking = _Tracking(name, service, run, folder, listener, values, thread)
        try:
            yield tracking.hear
        finally:
            tracking.end()


def values_of(config: Config) -> dict[str, Any]:
    """What a training was started with: every key of its configuration."""
    return {key: config_value(config, key) for key in leaf_keys()}


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class _Tracking:
    def __init__(
        self,
        name: Tracker,
        service: Service,
        run: str,
        folder: Path,
        listener: Listener,
        values: Mapping[str, Any],
        thread: ThreadPoolExecutor,
    ) -> None:
        self.name = name
        self.service = service
        self.run = run
        self.folder = folder
        self.listener = listener
        self.values = values
        self.thread = thread
        self.open: dict[str, tuple[str, int]] = {}  # as in IDS
        self.lost = False

    def hear(self, event: Event) -> None:
        self.listener(event)
        if not self.lost:
            self._do(self._send, event)

    def end(self) -> None:
        """Whatever is open there still was cut off; that is told where something else couldn't be, too."""
        for part in list(self.open):
            self._do(self._end, part, "cut off")

    def _do(self, call: Callable[..., None], *given: Any) -> None:
        try:
            self.thread.submit(call, *given).result()
        except Exception as error:
            if not self.lost:
                self.listener(Doubted(f"--track {self.name}: {_line(error)}; what follows isn't sent there"))
            self.lost = True

    def _send(self, event: Event) -> None:
        if isinstance(event, TrainingBegan):
            self._begin("", self.values)
        elif isinstance(event, TrialStarted):
            self._trial(event)
        elif isinstance(event, EpochDone):
            part = event.job or ("" if event.trial is None else trial_name(event.trial))
            self._epoch(part, event.metrics, event.epoch)
        elif isinstance(event, TrialEnded) and not event.earlier:
            states: dict[str, State] = {"failed": "failed", "diverged": "failed", "stopped": "cut off"}
            self._trial(event)
            self._end(trial_name(event.trial), states.get(event.status, "ended"))
        elif isinstance(event, JobChanged):
            self._job(event)
        elif isinstance(event, Ended):
            ends: dict[str, State] = {"completed": "ended", "interrupted": "cut off", "failed": "failed"}
            for part in list(self.open):
                self._end(part, ends[event.state])

    def _trial(self, event: TrialStarted | TrialEnded) -> None:
        self._begin(trial_name(event.trial), {"number": event.trial, **event.overrides})

    def _job(self, event: JobChanged) -> None:
        id, epoch = self._begin(event.job, self.values)
        if event.scores:
            scores = {f"test_mpck4_{shots}shot": score for shots, score in event.scores.items()}
            self.service.send(id, scores, epoch)
        if event.state in ("ended", "lost"):
            self._end(event.job, "ended" if event.scores else "failed")

    def _begin(self, part: str, values: Mapping[str, Any]) -> tuple[str, int]:
        """A part's run there, and its last epoch, with those that nobody heard of: a sitting was cut off before."""
        if part not in self.open:
            before, sent = self._ids().get(self.name, {}).get(part, (None, 0))
            id = self.service.begin(Path(part).name or self.run, before, values)
            self.open[part] = (id, sent if id == before else 0)
            self._keep(part)
            for row in read_history(self.folder / part):
                self._epoch(part, row, int(row["epoch"]))
        return self.open[part]

    def _epoch(self, part: str, metrics: Mapping[str, float], epoch: int) -> None:
        id, sent = self._begin(part, self.values)
        if epoch > sent:  # else it was trained again
            self.service.send(id, metrics, epoch)
            self.open[part] = (id, epoch)
            self._keep(part)

    def _ids(self) -> dict[str, dict[str, tuple[str, int]]]:
        file = self.folder / IDS
        return json.loads(file.read_text()) if file.is_file() else {}

    def _keep(self, part: str) -> None:
        ids = self._ids()
        ids.setdefault(self.name, {})[part] = self.open[part]
        write_aside(self.folder / IDS, json.dumps(ids, indent=2) + "\n")

    def _end(self, part: str, state: State) -> None:
        self.service.end(self.open.pop(part)[0], state)
