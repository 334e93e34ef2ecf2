"""What a search's folder says of its trials: one by one, and all of them as tables for other programs."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from statistics import stdev
from typing import Any, Literal, NotRequired

from pydantic import ConfigDict, FiniteFloat, TypeAdapter
from typing_extensions import TypedDict

from capetune.config import Config
from capetune.errors import UserError
from capetune.runs.commands import again
from capetune.runs.document import Odd, read_checked
from capetune.runs.metrics import title
from capetune.runs.paired import differences
from capetune.storage.whole import write_aside

Status = Literal["completed", "pruned", "halted", "stopped", "diverged", "failed"]
UNSCORED = ("diverged", "failed")
TRIALS = "trials"  # the folder of a search's trials
RESULT, VALUES = "result.json", "trial.json"  # of one trial
RESULTS = "results.json"
SCHEMA = "config.schema.json"  # of its YAML files, for editors, which find it wherever the run's folder goes
SCHEMA_LINE = f"# yaml-language-server: $schema={SCHEMA}\n"
COLUMNS = (
    *("number", "status", "score", "spread", "difference", "interval", "template"),
    *("epochs", "seconds", "config_hash", "twin", "checkpoint", "error"),
)


def may_be_best(score: float | None, excess: Mapping[str, float]) -> bool:
    """Of a trial: whether it has a score, and is over no limit."""
    return score is not None and not any(share > 0 for share in excess.values())


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended.

    number: 0 is the default configuration. overrides: dotted key → value, over the search's base configuration.
    status: completed; pruned, stopped early by the scheduler; halted, ended by the user, perhaps before its first
    epoch; stopped, cut off by the search's budget, to go on when that is raised; diverged, its loss, weights or scores
    became no numbers; failed, of another error. Those two have no score, nor has who finished no epoch. score: the
    search's metric in its best epoch. metrics: those of the best epoch, as `training.loop.fit` reports them; empty
    without a score. history: (epoch, score) of every finished epoch. seconds: what it took in all.
    twin: an earlier trial with the same configuration. checkpoint: its best, None without a score or where others' were
    kept in its stead. error: the failure's last line, the whole of which is in the file `traceback`; bad_input: it is
    the user's to cure. excess: constraint → the share by which it is over that limit, ≤ 0 within. seeds: of
    one that was trained with several, each one's score, of which `score` is the mean, as each of `metrics` is; history
    and checkpoint are the first one's. Paths start at the run's folder.
    """

    number: int
    overrides: dict[str, Any]
    status: Status
    score: float | None
    metrics: dict[str, float]
    history: list[tuple[int, float]]
    seconds: FiniteFloat
    config_hash: str | None
    checkpoint: str | None
    twin: int | None = None
    error: str | None = None
    bad_input: bool = False
    traceback: str | None = None
    excess: dict[str, float] = field(default_factory=dict)
    seeds: list[float] = field(default_factory=list)

    @property
    def spread(self) -> float | None:
        """The scores' standard deviation over seeds; None where it has one."""
        return stdev(self.seeds) if len(self.seeds) > 1 else None

    @property
    def eligible(self) -> bool:
        return may_be_best(self.score, self.excess)

    @property
    def epochs(self) -> int:
        """Finished ones."""
        return self.history[-1][0] if self.history else 0

    @property
    def template(self) -> float | None:
        """The template's mPCK4 on the same pairs."""
        return self.metrics.get("template_mpck4")


class TrialRow(TypedDict, total=False):
    """A trial in results.json: a TrialResult's fields, three of its properties, and `paired.differences`."""

    number: int
    overrides: dict[str, Any]
    status: Status
    score: float | None
    metrics: dict[str, float]
    history: list[tuple[int, float]]
    seconds: FiniteFloat
    config_hash: str | None
    checkpoint: str | None
    twin: int | None
    error: str | None
    bad_input: bool
    traceback: str | None
    excess: dict[str, float]
    seeds: list[float]
    spread: float | None
    difference: float | None
    interval: float | None
    template: float | None
    epochs: int


class _Results(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    trials: list[TrialRow]


class _Values(TypedDict):
    """Of trial.json. added: the point of which request it is (`tuning.steering`)."""

    overrides: dict[str, Any]
    added: NotRequired[str]


_TRIAL, _RESULTS, _VALUES = TypeAdapter(TrialResult), TypeAdapter(_Results), TypeAdapter(_Values)


def trial_name(number: int) -> str:
    """Of a trial's folder, from the run's."""
    return f"{TRIALS}/trial-{number:03d}"


def trial_folder(run: Path, number: int) -> Path:
    return run / trial_name(number)


def repeat_folder(trial: Path, number: int) -> Path:
    """Where a trial is trained with its seed of that number, from 1; with the first one it is in its own folder."""
    return trial / f"repeat-{number}"


def save_result(run: Path, result: TrialResult) -> None:
    write_aside(trial_folder(run, result.number) / RESULT, json.dumps(asdict(result), indent=2) + "\n")


def saved_results(run: Path) -> Iterator[TrialResult]:
    """Of the trials that ended, in the order of their numbers; a damaged one counts as not written."""
    yield from look_at_results(run)[0]


def look_at_results(run: Path) -> tuple[list[TrialResult], list[str]]:
    """The same, and a line for each damaged one that names its file."""
    found, damaged = [], []
    for number, folder in trial_folders(run):
        file = folder / RESULT
        if not os.path.lexists(file):
            continue
        try:
            result = result_of(read_checked(file, _TRIAL))
            if result.number != number:
                raise Odd(f"is odd: it is trial {result.number}'s")
        except (Odd, FileNotFoundError) as error:
            why = error if isinstance(error, Odd) else "is gone"
            go_on = again("search --resume", run)
            damaged.append(f"{file} {why}: trial {number} counts as not ended; `{go_on}` goes on with it")
        else:
            found.append(result)
    return found, damaged


def result_of(tree: Mapping[str, Any]) -> TrialResult:
    """A result of its fields as JSON has them, others left out."""
    known = {each.name: tree[each.name] for each in fields(TrialResult) if each.name in tree}
    return TrialResult(**{**known, "history": [tuple(row) for row in tree["history"]]})


def trial_folders(run: Path) -> list[tuple[int, Path]]:
    """Those of the trials that began, with their numbers, in their order: as text, 1000 would come before 101."""
    found = [(folder.name.removeprefix("trial-"), folder) for folder in (run / TRIALS).glob("trial-*")]
    numbered = [(int(digits), folder) for digits, folder in found if re.fullmatch("[0-9]{3,18}", digits)]
    return sorted((number, folder) for number, folder in numbered if folder == trial_folder(run, number))


def saved_overrides(folder: Path) -> dict[str, Any] | None:
    """The values that a trial was last trained with, None where it never began. Raises UserError where their file is
    damaged."""
    values = _saved_values(folder)
    return None if values is None else values["overrides"]


def saved_added(folder: Path) -> str | None:
    """The point of which request a trial is, None of most. Raises UserError likewise."""
    values = _saved_values(folder)
    return None if values is None else values.get("added")


def _saved_values(folder: Path) -> _Values | None:
    file = folder / VALUES
    if not file.is_file():
        return None
    try:
        found: _Values = read_checked(file, _VALUES)
        return found
    except Odd as odd:
        raise UserError(f"{file} {odd}; remove it, and the trial goes on with the values that Optuna drew") from None


def read_results(folder: Path) -> dict[str, Any]:
    """What a search wrote of its trials, best first; empty where none has ended. Raises UserError where the file is
    damaged: the trials' folders have it all."""
    try:
        return dict(read_checked(folder / RESULTS, _RESULTS))
    except FileNotFoundError:
        return {}
    except Odd as odd:
        cure = f"`{again('runs mend', folder)}` makes it anew of the trials' own files"
        raise UserError(f"{folder / RESULTS} {odd}; {cure}") from None


def trial_rows(results: Sequence[TrialResult]) -> list[dict[str, Any]]:
    """As JSON's plain types."""
    beside, rows = differences(results), []
    for result in results:
        difference, interval = beside.get(result.number, (None, None))
        row = {"template": result.template, "epochs": result.epochs, "spread": result.spread}
        rows.append({**asdict(result), **row, "difference": difference, "interval": interval})
    return rows


def write_results(folder: Path, base: Config, facts: dict[str, Any], results: list[TrialResult]) -> None:
    """results.json, results.csv (a line a trial) and best.yaml (the best trial's whole configuration).

    results: best first. facts: what the scores are of: protocol, split, shots, data, missing categories. best.yaml
    isn't written while no trial has a score.
    """
    rows = trial_rows(results)
    write_aside(folder / RESULTS, json.dumps({**facts, "trials": rows}, indent=2) + "\n")
    keys = varied_keys(results)
    pck = [name for name in results[0].metrics if name.startswith("pck_")] if results else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *pck, *keys])
    for row in rows:
        values = [*(row["metrics"].get(name) for name in pck), *(row["overrides"].get(key) for key in keys)]
        writer.writerow([*(row[name] for name in COLUMNS), *values])
    write_aside(folder / "results.csv", text.getvalue())
    if results and results[0].eligible:
        best = base.with_overrides(results[0].overrides)
        what = title(facts["goal"][0])
        head = f"# Trial {results[0].number} of {folder.name}: validation {what} {results[0].score:.4f}\n"
        write_aside(folder / "best.yaml", head + SCHEMA_LINE + best.to_yaml())


def varied_keys(results: list[TrialResult]) -> list[str]:
    """Every varied key; one that stands under a condition is not every trial's."""
    return list(dict.fromkeys(key for result in results for key in result.overrides))
