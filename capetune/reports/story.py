"""What the folder of a search tells, gathered for its report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna

from capetune.config import Config, load_config
from capetune.errors import UserError
from capetune.reports.starts import Starts, read_starts
from capetune.reports.words import tails
from capetune.runs.commands import again
from capetune.runs.document import inside
from capetune.runs.history import finished, read_history
from capetune.runs.record import CONFIG, JOURNAL, SPACE, Run
from capetune.runs.results import (
    RESULT,
    TrialResult,
    TrialRow,
    look_at_results,
    read_results,
    saved_overrides,
    trial_folder,
    trial_folders,
)
from capetune.storage.scratch import address_of
from capetune.tuning.goal import Goal
from capetune.tuning.limits import over
from capetune.tuning.rebuild import readable_storage
from capetune.tuning.schedulers import carries_checkpoints, rungs
from capetune.tuning.space import Space
from capetune.tuning.space_file import load_space
from capetune.tuning.storage import study_name

TRACEBACK_MOST = 20_000  # characters of a traceback's end


@dataclass(frozen=True)
class Row:
    """A trial. state: its result's status; of one without a result running or, where the search was cut off,
    unfinished. metrics: its best epoch's. history: every finished epoch's. size: bytes of its checkpoints.
    over: which limits it is over, in words. spread: of its score, over seeds."""

    number: int
    state: str
    overrides: dict[str, Any]
    metrics: dict[str, float]
    history: list[dict[str, float]]
    seconds: float
    size: int
    config_hash: str | None = None
    checkpoint: str | None = None
    twin: int | None = None
    error: str | None = None
    traceback: str | None = None
    over: str | None = None
    spread: float | None = None

    @property
    def epochs(self) -> int:
        """Finished ones."""
        return finished(self.history)


@dataclass(frozen=True)
class Story:
    """A search. state: its run's `state_now`.

    rows: ended trials from the best down, then the others. keys: every varied key, in the space's order. study: None
    where it can't be read, which `no_study` explains. rungs: the epochs after which the scheduler compares. starts: the
    trials that were started again. machines: how many were lost. notes: what couldn't be read, each a sentence.
    results: of the trials that ended.
    """

    run: Run
    state: str
    goal: Goal
    rows: list[Row]
    keys: list[str]
    space: Space | None
    config: Config | None
    study: optuna.Study | None
    no_study: str
    rungs: list[int] = field(default_factory=list)
    starts: list[Starts] = field(default_factory=list)
    machines: int = 0
    notes: list[str] = field(default_factory=list)
    results: list[TrialResult] = field(default_factory=list)

    @property
    def labels(self) -> dict[str, str]:
        """Each key as short as it stays one of its own."""
        return dict(zip(self.keys, tails(self.keys), strict=True))

    @property
    def open(self) -> int:
        """How many trials run, or were cut off before they ended."""
        return sum(row.state in ("running", "unfinished") for row in self.rows)

    @property
    def best(self) -> Row | None:
        """The best trial that ended, None where none has a score."""
        first = self.rows[0]
        return first if self.goal.metric in first.metrics and first.over is None else None

    @property
    def template(self) -> float | None:
        """The template's mPCK4: the same for all trials, since they are scored on the same pairs."""
        return next((row.metrics["template_mpck4"] for row in self.rows if "template_mpck4" in row.metrics), None)


def read_story(run: Run) -> Story:
    """Raises UserError where no trial of the search has ended."""
    goal = Goal(tuple(run.facts.get("goal", ["mpck4"])), tuple(run.facts.get("mode", ["max"])))
    state = run.state_now
    results, notes = look_at_results(run.folder)
    ended = [_ended(run.folder, result, goal, notes) for result in results]
    still = list(_others(run, {row.number for row in ended}, goal, state == "running", notes))
    ended += [row for row in still if row.state == "stopped"]
    if not ended:
        cure = "wait for the first" if state == "running" else f"go on with it: {again('search --resume', run.folder)}"
        damage = f" ({notes[0]})" if notes else ""
        raise UserError(f"no trial of {run.name} has ended yet, so there is nothing to report; {cure}{damage}")

    def place(row: Row) -> tuple[bool, bool, list[float], int]:
        score = row.metrics.get(goal.metric)
        return score is None, row.over is not None, goal.order(score, row.metrics), row.number

    rows = sorted(ended, key=place) + [row for row in still if row.state != "stopped"]
    config, space, unread = _settings(run.folder)
    notes = [*unread, *(f"{note}." for note in notes)]
    keys = list(space.parameters) if space else []
    keys += [key for row in rows for key in row.overrides if key not in keys]
    study, why = _study(run)
    compared = rungs(space, config) if space and config else []
    starts, machines = read_starts(run.folder, pauses=space is not None and carries_checkpoints(space))
    keys = list(dict.fromkeys(keys))
    return Story(run, state, goal, rows, keys, space, config, study, why, compared, starts, machines, notes, results)


def _ended(run: Path, result: TrialResult, goal: Goal, notes: list[str]) -> Row:
    """notes: gets what couldn't be read."""
    folder = trial_folder(run, result.number)
    text = None
    try:
        if result.traceback and (file := inside(run, result.traceback, folder / RESULT)).is_file():
            text = file.read_text(errors="replace")[-TRACEBACK_MOST:]
    except UserError as error:
        notes.append(str(error))
    history = read_history(folder) or [{"epoch": epoch, goal.metric: score} for epoch, score in result.history]
    return Row(
        number=result.number,
        state=result.status,
        overrides=result.overrides,
        metrics=result.metrics,
        history=history,
        seconds=result.seconds,
        size=_size(folder),
        config_hash=result.config_hash,
        checkpoint=result.checkpoint,
        twin=result.twin,
        error=result.error,
        traceback=text,
        over=over(result.excess),
        spread=result.spread,
    )


def _others(run: Run, ended: set[int], goal: Goal, at_work: bool, notes: list[str]) -> Iterator[Row]:
    """Trials that began and have no result of their own: those that run, were cut off or were stopped by a budget.
    notes: gets what couldn't be read."""
    said: dict[int, TrialRow] = {}
    try:
        said = {row["number"]: row for row in read_results(run.folder).get("trials", []) if "number" in row}
    except UserError as error:
        notes.append(str(error))
    for number, folder in trial_folders(run.folder):
        if number in ended:
            continue
        try:
            values = saved_overrides(folder)
        except UserError as error:
            notes.append(str(error))
            continue
        if values is None:
            continue
        result: TrialRow = said.get(number, {})
        history = read_history(folder)
        stopped = result.get("status") == "stopped" and not at_work
        yield Row(
            number=number,
            state="stopped" if stopped else "running" if at_work else "unfinished",
            overrides=values,
            metrics=dict(goal.best([row for row in history if goal.metric in row])),
            history=history,
            seconds=sum(row.get("seconds", 0.0) for row in history),
            size=_size(folder),
            config_hash=result.get("config_hash"),
            checkpoint=result.get("checkpoint"),
            twin=result.get("twin"),
        )


def _settings(folder: Path) -> tuple[Config | None, Space | None, list[str]]:
    """What the search was begun with; where that can't be read, a sentence that says so."""
    try:
        config = load_config("tiny", folder / CONFIG)
    except UserError as error:
        return None, None, [f"The search's configuration can't be read, nor its rungs: {error}."]
    try:
        return config, load_space(folder / SPACE, config, begun=True), []
    except UserError as error:
        return config, None, [f"The search's space can't be read, nor its rungs: {error}."]


def _study(run: Run) -> tuple[optuna.Study | None, str]:
    """Optuna's study of the run, which is only read; else why there is none."""
    here = run.facts.get("storage") is None and not address_of(run.folder)
    if here and not (run.folder / JOURNAL).is_file():
        return None, f"Optuna's journal is not there: {JOURNAL}"
    try:
        storage = readable_storage(run)
        return optuna.load_study(study_name=study_name(run.folder, run.facts), storage=storage), ""
    except KeyError:
        return None, f"Optuna's storage holds no study {run.name}"
    except Exception as error:  # of the journal's reader, of SQLAlchemy, of a database's driver
        return None, f"Optuna's study can't be read: {' '.join(str(error).split())[:300] or type(error).__name__}"


def _size(folder: Path) -> int:
    """Bytes of the checkpoints in a trial's folder, of which a search at work may remove some just now."""
    total = 0
    for epoch in folder.glob("epoch-*"):
        for place, _, files in os.walk(epoch):
            for name in files:
                try:
                    total += (Path(place) / name).stat().st_size
                except FileNotFoundError:
                    continue
    return total
