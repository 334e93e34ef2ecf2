"""The runs below a folder: where one is kept, which there are, and the best of what they made."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from capetune.errors import UserError
from capetune.runs.checkpoints import META, CheckpointMeta
from capetune.runs.commands import again
from capetune.runs.copy import bring, evaluated, glance
from capetune.runs.record import CONFIG, RECORD, SPACE, TABLES, Damaged, Run, read_run, who_works
from capetune.storage.scratch import address_of


def run_folder(runs: Path, name: str) -> Path:
    """Where the run `name` is kept; nothing is made. Raises UserError where the name or the place doesn't serve."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise UserError(f"{name!r} can't be a run's name: take up to 100 letters, digits, dots, dashes, underscores")
    if address_of(runs) is not None:
        return runs / name
    place = next(folder for folder in (runs, *runs.absolute().parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise UserError(f"can't write runs into {runs}: {place} is not a folder we may write to; give another --runs")
    return runs / name


def look(runs: Path) -> tuple[list[Run], list[Damaged]]:
    """Every run below `runs`, the latest first, and what is wrong with those whose record is damaged, by name. Raises
    UserError where we may not look into it."""
    found, damaged = [], []
    bring(runs, glance)
    try:
        for folder in sorted(runs.iterdir()) if runs.is_dir() else ():
            try:
                run = _begun(folder)
            except Damaged as error:
                damaged.append(error)
            else:
                found += [] if run is None else [run]
    except OSError as error:
        raise UserError(f"can't read {runs}: {error.strerror or error}") from None
    return sorted(found, key=lambda run: str(run.facts.get("started")), reverse=True), damaged


def begun(folder: Path) -> Run | None:
    """`read_run`, which raises Damaged also where the folder holds a run's work and no record of ours."""
    bring(folder)
    return _begun(folder)


def _begun(folder: Path) -> Run | None:
    run = read_run(folder)
    if run is None and _worked_in(folder) and who_works(folder) is None:  # who holds it may not have written it yet
        raise Damaged(folder, "is no run's record" if os.path.lexists(folder / RECORD) else "is not there")
    return run


def all_runs(runs: Path) -> Iterator[Run]:
    """Every run below `runs` whose record can be read, the latest first. Raises UserError as `look` does."""
    yield from look(runs)[0]


def find_run(runs: Path, name: str, kind: str | None = None) -> Run:
    """The run of that name, of that kind where one is given. Raises UserError where there is none, naming what is, and
    Damaged where it is damaged."""
    runs_there, damaged = look(runs)
    for error in damaged:
        if error.folder.name == name:
            raise error
    there = [run for run in runs_there if kind in (None, run.kind)]
    found = [run for run in there if run.name == name]
    if not found:
        other = [run.kind for run in runs_there if run.name == name]
        if other:
            raise UserError(f"{name!r} is no {kind}, it was made by `capetune {other[0]}`; see `capetune runs`")
        names = ", ".join(run.name for run in there[:5]) or "none yet"
        raise UserError(f"there is no {kind or 'run'} {name!r} in {runs} (there: {names})")
    bring(found[0].folder)
    return found[0]


def find_search(runs: Path, name: str | None) -> Run:
    """A finished search by name, or the latest one. Raises UserError where there is none."""
    searches = [run for run in all_runs(runs) if run.kind == "search"]
    if name is not None:
        searches = [find_run(runs, name, "search")]
    finished = [run for run in searches if (run.folder / "best.yaml").is_file()]
    if not finished:
        if name:
            go_on = again("search --resume", searches[0].folder)
            raise UserError(f"search {name!r} has no best configuration yet; `{go_on}` goes on")
        raise UserError(f"no search in {runs} has a best configuration yet; run `capetune search` first")
    bring(finished[0].folder)
    return finished[0]


def latest_best(runs: Path) -> tuple[Path, CheckpointMeta]:
    """The best checkpoint of the latest run that has any. Raises UserError where none has."""
    for run in all_runs(runs):
        best = run.best()
        if best is not None:
            return best
    raise UserError(f"there is no checkpoint in {runs}; train one with `capetune train`, or name one with --checkpoint")


def chosen_checkpoint(folder: Path) -> Path:
    """A checkpoint's folder itself, or of a run's its best one's, brought here. Raises UserError where a run has none
    yet; whether a folder is a checkpoint who reads it will see."""
    bring(folder)
    run = read_run(folder)
    if run is not None:
        best = run.best()
        if best is None:
            raise UserError(f"{folder} has no checkpoint yet")
        folder = best[0]
    bring(folder, wanted=evaluated)
    return folder


def _worked_in(folder: Path) -> bool:
    """Whether a search, a training or a promotion has left there what it makes."""
    search = all(os.path.isfile(folder / name) for name in (CONFIG, SPACE))
    return search or os.path.isfile(folder / TABLES) or any(folder.glob(f"epoch-*/{META}"))
