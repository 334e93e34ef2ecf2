"""Runs: one folder below `runs/` for each search or training, with a `run.json` that says what it is."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from capetune.datasets.whole import write_aside
from capetune.errors import UserError
from capetune.training.kept import META, CheckpointMeta, best_checkpoint, keep_checkpoints, latest_checkpoint, read_meta

RECORD, CONFIG, HISTORY, RESULTS = "run.json", "config.yaml", "history.jsonl", "results.json"
ERROR, LOCK = "error.txt", ".lock"
PACKAGES = ("capetune", "torch", "ray", "optuna")
TRIALS = "trials"  # the folder of a search's trials
State = Literal["running", "completed", "interrupted", "failed"]


@dataclass
class Run:
    """kind: search, train or promote.

    facts: config_hash, pack, data, split and whatever else a reader of results must know.
    """

    folder: Path
    kind: Literal["search", "train", "promote"]
    state: State
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def state_now(self) -> str:
        """Its state, but `cut off` where that says running and no process works on it."""
        return "cut off" if self.state == "running" and not is_held(self.folder) else self.state

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
        checkpoint is there: one that goes on may have found a better epoch since its result was written."""
        if self.kind == "train":
            return best_checkpoint(self.folder)
        trials = read_results(self.folder).get("trials", [])
        paths = (self.folder / trial["checkpoint"] for trial in trials if trial["checkpoint"])
        found = next((path for path in paths if (path / META).is_file()), None)
        return None if found is None else (found, read_meta(found))


def read_results(folder: Path) -> dict[str, Any]:
    """What a search wrote of its trials, best first; empty where none has ended or the file is damaged: the trials'
    folders have it all."""
    try:
        tree = json.loads((folder / RESULTS).read_text())
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}


@contextmanager
def held(folder: Path, wait: bool = False) -> Iterator[None]:
    """Keep other processes from working in a folder; the hold ends with the process, however it ends. A folder that is
    empty then is removed.

    Raises UserError where another one works in it, unless it is to wait.
    """
    alone = not folder.parent.exists()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise UserError(f"another capetune works on {folder} now; wait for it, or give another --name") from None
        try:
            yield
        finally:
            if [path.name for path in folder.iterdir()] == [LOCK]:  # it came to nothing
                shutil.rmtree(folder)
                if alone:
                    folder.parent.rmdir()


def is_held(folder: Path) -> bool:
    """Whether a process works in the folder now."""
    try:
        with (folder / LOCK).open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def add_to_history(folder: Path, metrics: dict[str, float]) -> None:
    """Keep an epoch's metrics as a line of `history.jsonl`, in place of an earlier try of it or of later epochs."""
    rows = [row for row in read_history(folder) if row["epoch"] < metrics["epoch"]]
    folder.mkdir(parents=True, exist_ok=True)
    write_aside(folder / HISTORY, "".join(json.dumps(row) + "\n" for row in [*rows, metrics]))


def read_history(folder: Path) -> list[dict[str, float]]:
    """The metrics of every finished epoch, in order; none where there is no history."""
    file = folder / HISTORY
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def keep_epoch(
    folder: Path,
    metrics: dict[str, float],
    save: Callable[[Path], None],
    write: Callable[[dict[str, float]], None],
    metric: str,
    mode: Literal["max", "min"],
) -> Path:
    """Keep a finished epoch in a training's folder: its checkpoint, by `save`, then its metrics in the history and, by
    `write`, elsewhere. What is there of it or of later epochs, of a try that was left, is removed, and so are all
    checkpoints but the best by `metric` and this one. Returns its checkpoint."""
    path = folder / f"epoch-{metrics['epoch']:04.0f}"
    for other in folder.glob("epoch-*"):
        if other.name >= path.name:
            shutil.rmtree(other)
    save(path)
    add_to_history(folder, metrics)
    write(metrics)
    keep_checkpoints(folder, metric, mode)
    return path


def resume_point(folder: Path, mend: bool = True) -> Path | None:
    """The checkpoint that a training goes on from, the latest that is whole, None where there is none. mend: put its
    metrics into the history where the training was killed before it did so."""
    latest = latest_checkpoint(folder)
    if latest is None:
        return None
    path, meta = latest
    if mend:
        history = read_history(folder)
        if not history or history[-1]["epoch"] < meta.epoch:
            add_to_history(folder, meta.metrics)
    return path


def environment() -> dict[str, Any]:
    """What this process runs on: versions and machine."""
    packages = {name: version(name) for name in PACKAGES}
    machine = f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} CPUs"
    return {"python": platform.python_version(), **packages, "machine": machine}


def error_line(text: str) -> str:
    """The line of a traceback that names the error: the last one that does, for messages may have several lines."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in text.splitlines() if re.match(r"[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt)\b", line)]
    return (named or lines or ["no reason given"])[-1].strip()


def run_folder(runs: Path, name: str) -> Path:
    """Where the run `name` is kept; nothing is made. Raises UserError where the name or the place doesn't serve."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise UserError(f"{name!r} can't be a run's name: take up to 100 letters, digits, dots, dashes, underscores")
    place = next(folder for folder in (runs, *runs.absolute().parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise UserError(f"can't write runs into {runs}: {place} is not a folder we may write to; give another --runs")
    return runs / name


def read_run(folder: Path) -> Run | None:
    """The run in a folder, None where there is none."""
    try:
        tree = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(tree, dict) or tree.pop("capetune", None) != "run":
        return None
    return Run(folder, tree.pop("kind"), tree.pop("state"), tree)


def all_runs(runs: Path) -> Iterator[Run]:
    """Every run below `runs`, the latest first."""
    found = [run for run in map(read_run, runs.iterdir()) if run is not None] if runs.is_dir() else []
    yield from sorted(found, key=lambda run: str(run.facts.get("started")), reverse=True)


def find_run(runs: Path, name: str, kind: str | None = None) -> Run:
    """The run of that name, of that kind where one is given. Raises UserError where there is none, naming what is."""
    there = [run for run in all_runs(runs) if kind in (None, run.kind)]
    found = [run for run in there if run.name == name]
    if not found:
        other = [run.kind for run in all_runs(runs) if run.name == name]
        if other:
            raise UserError(f"{name!r} is no {kind}, it was made by `capetune {other[0]}`; see `capetune runs`")
        names = ", ".join(run.name for run in there[:5]) or "none yet"
        raise UserError(f"there is no {kind or 'run'} {name!r} in {runs} (there: {names})")
    return found[0]


def find_search(runs: Path, name: str | None) -> Run:
    """A finished search by name, or the latest one. Raises UserError where there is none."""
    searches = [run for run in all_runs(runs) if run.kind == "search"]
    if name is not None:
        searches = [find_run(runs, name, "search")]
    finished = [run for run in searches if (run.folder / "best.yaml").is_file()]
    if not finished:
        if name:
            raise UserError(f"search {name!r} has no best configuration yet; `capetune search --resume {name}` goes on")
        raise UserError(f"no search in {runs} has a best configuration yet; run `capetune search` first")
    return finished[0]


def latest_best(runs: Path) -> tuple[Path, CheckpointMeta]:
    """The best checkpoint of the latest run that has any. Raises UserError where none has."""
    for run in all_runs(runs):
        best = run.best()
        if best is not None:
            return best
    raise UserError(f"there is no checkpoint in {runs}; train one with `capetune train`, or name one with --checkpoint")
