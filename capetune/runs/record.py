"""Runs: one folder below `runs/` for each search or training, with a `run.json` that says what it is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NotRequired

from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from capetune.cluster.head import HeadLost
from capetune.datasets.mp100.catalogue import CoverageJson
from capetune.errors import UserError
from capetune.events import Ended, Listener
from capetune.runs.checkpoints import META, CheckpointMeta, best_checkpoint, read_meta
from capetune.runs.commands import again
from capetune.runs.document import Odd, inside, read_checked, read_tree
from capetune.runs.results import RESULTS, read_results
from capetune.storage.address import open_place
from capetune.storage.lease import who
from capetune.storage.scratch import address_of
from capetune.storage.whole import write_aside

# What a run's folder holds: of each run; of a search what it was begun with, and its study; of a promotion; of a
# training that was profiled.
RECORD, CONFIG = "run.json", "config.yaml"
SPACE, JOURNAL = "space.yaml", "optuna.journal"
TABLES = "promotion.json"
TRACE = "trace.json.gz"  # of a training
Kind = Literal["search", "train", "promote"]
State = Literal["running", "completed", "interrupted", "failed"]


class Asked(TypedDict):
    """What a promotion was asked for last. jobs: their names. missing: split → categories without an image."""

    jobs: list[str]
    shots: list[int]
    episodes: int | None
    queries: int
    epochs: int
    missing: dict[str, list[str]]


class WarmStart(TypedDict):
    """What a search took of an earlier one: how many trials and points; its best one's number and score."""

    search: str
    trials: int
    points: int
    best: NotRequired[int]
    score: NotRequired[float]


class Origin(TypedDict):
    """The checkpoint that a training was begun with. named: as it was asked for. longer: whether all of it was taken,
    not only its weights. pack, data_hash, split: what it was trained on."""

    named: str
    checkpoint: str
    epoch: int
    longer: bool
    pack: str | None
    data_hash: str | None
    split: int | None


class _Facts(TypedDict, total=False):
    """Of a record's facts those that are read again, where they are there; it may have any others."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    started: str | None
    updated: str
    config_hash: str | None
    pack: str
    data: str
    data_hash: str
    split: int
    shots: int
    protocol: str
    train_instances: int
    missing_categories: dict[str, list[str]]
    mp100: CoverageJson
    goal: list[str]
    mode: list[Literal["max", "min"]]
    space: str
    storage: str | None
    study: str
    trials: int
    steered: int  # the number of the latest request that was taken (runs/steering.py)
    warm_start: list[WarmStart]
    hours: float | None
    keep: int
    workers: list[int]
    workers_per_trial: int
    reserved: dict[str, float]  # by a trial: CPUs, GPUs
    cache_features: int
    features: str | None
    tracker: Literal["mlflow", "wandb"] | None
    environment: dict[str, Any]
    config: dict[str, Any]
    origin: Origin
    asked: Asked


class _Record(_Facts):
    kind: Kind
    state: State


_RECORD = TypeAdapter(_Record)


class Damaged(UserError):
    """The run in a folder has no record that can be read. why: in words that follow the record's name."""

    def __init__(self, folder: Path, why: str) -> None:
        cure = f"`{again('runs mend', folder)}` makes it anew of what lies beside it"
        super().__init__(f"{folder / RECORD} {why}; {cure}")
        self.folder = folder


@dataclass
class Run:
    """kind: search, train or promote.

    facts: config_hash, pack, data, split and whatever else a reader of results must know.
    """

    folder: Path
    kind: Kind
    state: State
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def state_now(self) -> str:
        """Its state, but `cut off` where that says running and no process works on it."""
        return "cut off" if self.state == "running" and who_works(self.folder) is None else self.state

    def told(self, key: str) -> Any:
        """A fact. Raises UserError where the record hasn't got it."""
        if key not in self.facts:
            raise UserError(f"{self.folder / RECORD} doesn't say its {key!r}; put it there, or take another run")
        return self.facts[key]

    def save(self, state: State, **facts: Any) -> None:
        """Write `run.json` aside and rename it."""
        self.state = state
        self.facts |= facts
        self.folder.mkdir(parents=True, exist_ok=True)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.facts.setdefault("started", now)
        tree = {"capetune": "run", "kind": self.kind, "state": state, **self.facts, "updated": now}
        write_aside(self.folder / RECORD, json.dumps(tree, indent=2) + "\n")

    def best(self) -> tuple[Path, CheckpointMeta] | None:
        """The checkpoint of a training with the highest validation mPCK4, or of the best of a search's trials whose
        checkpoint is there: one that goes on may have found a better epoch since its result was written. Raises
        UserError where what says so is damaged."""
        if self.kind == "train":
            return best_checkpoint(self.folder)
        trials = read_results(self.folder).get("trials", [])
        said = [path for trial in trials if (path := trial.get("checkpoint"))]
        paths = (inside(self.folder, path, self.folder / RESULTS) for path in said)
        found = next((path for path in paths if (path / META).is_file()), None)
        return None if found is None else (found, read_meta(found))


def who_works(folder: Path) -> str | None:
    """Who works on the run in a folder, or at the address that it is a copy of; None where nobody does."""
    return who(open_place(address_of(folder) or folder))


def read_run(folder: Path) -> Run | None:
    """The run in a folder, None where there is none: other programs write a run.json too. Raises Damaged where its
    record can't be read, so that nobody can tell whose it is, or is ours and odd."""
    if not os.path.isfile(folder / RECORD):
        return None
    try:
        tree = read_tree(folder / RECORD)
        if not isinstance(tree, dict) or tree.get("capetune") != "run":
            return None
        record = read_checked(folder / RECORD, _RECORD)
        goal, mode = record.get("goal", ["mpck4"]), record.get("mode", ["max"])
        if len(goal) not in (1, 2) or len(goal) != len(mode):
            raise Odd("is odd: goal and mode must be lists of one metric or of two")
    except Odd as odd:
        raise Damaged(folder, str(odd)) from None
    except FileNotFoundError:  # it has just been removed
        return None
    facts = dict(record)
    del facts["capetune"]
    return Run(folder, facts.pop("kind"), facts.pop("state"), facts)


@contextmanager
def recorded(run: Run, facts: Mapping[str, Any], again: str, listener: Listener) -> Iterator[None]:
    """Keep `run.json` true: running, then completed, interrupted or failed, which the listener hears.

    again: the command that goes on with it. Who ends well, but has work left, sets `run.state` to interrupted. Any
    exception passes on.
    """
    run.save("running", **facts)
    try:
        yield
    except BaseException as error:
        ended_from_outside = isinstance(error, KeyboardInterrupt | HeadLost)
        state: Literal["interrupted", "failed"] = "interrupted" if ended_from_outside else "failed"
        with suppress(OSError):  # a full disk: what matters is the error
            run.save(state)
        listener(Ended(run.name, state, again))
        raise
    if run.state == "interrupted":
        run.save("interrupted")
        listener(Ended(run.name, "interrupted", again))
    else:
        run.save("completed")
        listener(Ended(run.name, "completed"))
