"""Runs: one folder below `runs/` for each search or training, with a `run.json` that says what it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from capetune.events import Ended, Listener
from capetune.runs.checkpoints import META, CheckpointMeta, best_checkpoint, read_meta
from capetune.runs.results import read_results
from capetune.storage.hold import is_held
from capetune.storage.whole import write_aside

RECORD, CONFIG = "run.json", "config.yaml"
Kind = Literal["search", "train", "promote"]
State = Literal["running", "completed", "interrupted", "failed"]


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
        paths = (self.folder / trial["checkpoint"] for trial in trials if trial.get("checkpoint"))
        found = next((path for path in paths if (path / META).is_file()), None)
        return None if found is None else (found, read_meta(found))


def read_run(folder: Path) -> Run | None:
    """The run in a folder, None where there is none: other programs write a run.json too."""
    try:
        tree = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(tree, dict) or tree.pop("capetune", None) != "run":
        return None
    kind, state = tree.pop("kind", None), tree.pop("state", None)
    return Run(folder, kind, state, tree) if kind in get_args(Kind) and state in get_args(State) else None


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
        state: Literal["interrupted", "failed"] = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
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
