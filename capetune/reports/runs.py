"""Runs as tables: all of them, one, and what differs between two."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from capetune.config import config_value, leaf_keys
from capetune.datasets.mp100.catalogue import Coverage
from capetune.errors import UserError
from capetune.reports.ablation import ablation_rows, ablation_table
from capetune.reports.words import share
from capetune.runs.commands import again
from capetune.runs.history import read_history
from capetune.runs.results import look_at_results, read_results, trial_rows
from capetune.storage.scratch import named

if TYPE_CHECKING:
    from rich.console import Console

    from capetune.runs.record import Damaged, Run

TERMS = "mPCK4: mean of PCK at .05, .10, .15, .20; template: the supports' mean pose itself, on the same pairs"
PROTOCOL = ("protocol", "pack", "split", "shots", "validation")  # where these differ scores don't compare


def summary(run: Run) -> dict[str, Any]:
    """What `capetune runs` says of it. odd: why its checkpoints can't be read, None where they can."""
    odd, best = None, None
    try:
        best = run.best()
    except UserError as error:
        odd = str(error)
    metrics = best[1].metrics if best else {}
    missing = run.facts.get("missing_categories")
    return {
        "name": run.name,
        "kind": run.kind,
        "state": run.state_now,
        "mpck4": metrics.get("mpck4"),
        "template": metrics.get("template_mpck4"),
        "checkpoint": named(str(best[0])) if best else None,
        "config_hash": best[1].config.hash() if best else run.facts.get("config_hash"),
        "data": run.facts.get("data"),
        "split": run.facts.get("split"),
        "missing": sum(map(len, missing.values())) if isinstance(missing, dict) else 0,
        "started": run.facts.get("started"),
        "odd": odd,
    }


def damaged_summary(damaged: Damaged) -> dict[str, Any]:
    """What `capetune runs` says of a run whose record can't be read."""
    keys = ("kind", "state", "mpck4", "template", "checkpoint", "config_hash", "data", "split", "missing", "started")
    nothing: dict[str, Any] = dict.fromkeys(keys)
    return {"name": damaged.folder.name, **nothing, "state": "damaged", "missing": 0, "odd": str(damaged)}


def told_trials(run: Run) -> tuple[Sequence[Mapping[str, Any]], list[str]]:
    """The trials of a search as results.json has them, or as the trials' own files do where that is damaged; and a line
    for each damaged file."""
    results, lines = look_at_results(run.folder)
    try:
        return read_results(run.folder).get("trials", []), lines
    except UserError as error:
        return trial_rows(results), [str(error), *lines]


def runs_table(rows: Iterable[dict[str, Any]]) -> Table:
    """rows: each a `summary`."""
    table = _table()
    for name in ("run", "kind", "state", "val mPCK4", "template", "config", "data", "missing", "started"):
        right = name in ("val mPCK4", "template", "missing")
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "run", overflow="fold")
    for row in rows:
        split = "" if row["split"] is None else f", split {row['split']}"
        scores = [share(row[key]) for key in ("mpck4", "template")]
        started = _cell(row["started"])[:16].replace("T", " ")
        cells = [row["name"], _cell(row["kind"]), row["state"], *scores, _cell(row["config_hash"])]
        table.add_row(*cells, f"{_cell(row['data'])}{split}", str(row["missing"]), started)
    return table


def runs_lines(rows: Iterable[dict[str, Any]]) -> list[str]:
    """What belongs under the table."""
    return [TERMS, *(named(f"warning: {row['name']}: {row['odd']}") for row in rows if row["odd"] is not None)]


def facts_lines(run: Run, row: dict[str, Any]) -> list[str]:
    """Everything that its record says but the configuration. row: its `summary`."""
    lines = []
    for key, value in {**row, **{k: v for k, v in _facts(run).items() if k not in ("config", *row)}}.items():
        if key == "mp100":
            lines.append(f"mp100: {Coverage.of_json(value).line}")
        elif value is not None:
            lines.append(f"{key}: {json.dumps(value) if isinstance(value, dict | list) else value}")
    return lines


def trials_table(trials: Iterable[Mapping[str, Any]]) -> Table:
    """trials: as results.json has them."""
    table = _table()
    for column in ("trial", "status", "score", "mPCK4", "template", "epochs", "config", "checkpoint"):
        table.add_column(column, overflow="fold")
    for trial in trials:
        scores = [trial.get("score"), (trial.get("metrics") or {}).get("mpck4"), trial.get("template")]
        status = _cell(trial.get("status")) + ("" if trial.get("twin") is None else f" = {trial['twin']}")
        rest = [_cell(trial.get(key)) for key in ("epochs", "config_hash", "checkpoint")]
        table.add_row(_cell(trial.get("number")), status, *map(share, scores), *rest)
    return table


def epochs_table(history: Iterable[dict[str, float]]) -> Table:
    """history: of a training."""
    table = _table()
    for column in ("epoch", "val mPCK4", "template", "teacher-forced", "train loss", "val loss", "seconds"):
        table.add_column(column, justify="right")
    for row in history:
        values = [row.get(key) for key in ("mpck4", "template_mpck4", "forced_mpck4", "train_loss", "val_loss")]
        seconds = "–" if "seconds" not in row else f"{row['seconds']:.0f}"
        table.add_row(f"{row['epoch']:.0f}", *map(share, values), seconds)
    return table


def run_document(run: Run) -> dict[str, Any]:
    """All of it, as `capetune runs show --json` prints it. damaged: a line for each file that can't be read."""
    trials, damaged = told_trials(run)
    told = {"trials": trials, "history": read_history(run.folder), "tables": _tables(run), "damaged": damaged}
    return {**_facts(run), **summary(run), **told}


def _facts(run: Run) -> dict[str, Any]:
    """Without the password that an older capetune wrote down."""
    if not run.facts.get("storage"):
        return run.facts
    from capetune.tuning.storage import without_password

    return run.facts | {"storage": without_password(str(run.facts["storage"]))}


def print_run(run: Run, console: Console) -> None:
    """Its facts, its tables, its trials or epochs."""
    trials, odd = told_trials(run)
    history, tables = read_history(run.folder), _tables(run)
    lines = [*facts_lines(run, summary(run)), *(named(f"warning: {line}") for line in odd)]
    console.print("\n".join([*lines, TERMS] if trials or history or tables else lines), soft_wrap=True)
    if tables:  # its intervals need scipy, which takes a second to import
        from capetune.reports.promotion import promotion_table
    for each in tables:
        console.print(f"{each['protocol']} of the test parts:", soft_wrap=True)
        console.print(promotion_table(each))
    if trials:
        console.print(trials_table(trials))
        metric, mode = run.facts.get("goal", ["mpck4"])[0], run.facts.get("mode", ["max"])[0]
        if rows := ablation_rows(trials, metric, mode):
            console.print(ablation_table(rows))
    elif history:
        console.print(epochs_table(history))


def _tables(run: Run) -> list[dict[str, Any]]:
    if run.kind != "promote":
        return []
    from capetune.runs.promotion import read_tables  # numpy and more

    return read_tables(run.folder)


def difference(first: Run, second: Run) -> dict[str, list[Any]]:
    """Configuration keys (of a search: its best trial's), data, protocol and scores that differ → both values.

    Raises UserError for a promotion, which has many scores.
    """
    facts = [_comparable(run) for run in (first, second)]
    keys = [key for key in dict.fromkeys([*facts[0], *facts[1]]) if facts[0].get(key) != facts[1].get(key)]
    return {key: [each.get(key) for each in facts] for key in keys}


def difference_table(names: Sequence[str], differing: dict[str, list[Any]]) -> Table:
    table = _table()
    for name in ("", *names):
        table.add_column(name, overflow="fold")
    for key, values in differing.items():
        table.add_row(key, *map(_cell, values))
    return table


def _comparable(run: Run) -> dict[str, Any]:
    if run.kind == "promote":
        raise UserError(f"{run.name} is a promotion: it has many scores; see `{again('runs show', run.folder)}`")
    row, best = summary(run), run.best()
    found = {key: row[key] for key in ("kind", "state", "data", "split", "mpck4", "template")}
    found |= {key: run.facts.get(key) for key in ("pack", "missing_categories")}
    if best:
        found |= {"validation": best[1].config.validation.model_dump()}
        found |= {key: config_value(best[1].config, key) for key in leaf_keys()}
    return found


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
