"""`capetune runs`: what was searched, trained and promoted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from capetune.cli import common
from capetune.errors import UserError

if TYPE_CHECKING:
    from capetune.runs.record import Run

app = typer.Typer(help="List runs, show one, compare two.", rich_markup_mode=None)
Json = typer.Option(False, "--json", help="Print JSON in place of a table.")


@app.callback(invoke_without_command=True)
def listing(context: typer.Context, runs: Path = common.Runs, as_json: bool = Json) -> None:
    """List searches, trainings and promotions, the latest first.

    A run that says running while no process works on it was killed; it goes on with `search --resume NAME`, or with the
    same `train` or `promote` command.

    Examples:

      capetune runs

      capetune runs show decoder-20261123-081500

      capetune runs diff one two
    """
    if context.invoked_subcommand is not None:
        return
    import json

    from rich.table import Table

    from capetune.runs.registry import all_runs

    rows = [_row(run) for run in all_runs(runs)]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("run", "kind", "state", "val mPCK4", "template", "config", "data", "missing", "started"):
        table.add_column(
            name, justify="right" if name in ("val mPCK4", "template", "missing") else "left", no_wrap=True
        )
    for row in rows:
        scores = ["–" if row[key] is None else f"{row[key]:.3f}" for key in ("mpck4", "template")]
        split = "" if row["split"] is None else f", split {row['split']}"
        cells = [row["name"], row["kind"], row["state"], *scores, row["config_hash"] or "–", f"{row['data']}{split}"]
        table.add_row(*cells, str(row["missing"]), row["started"][:16].replace("T", " "))
    console = common.console()
    console.print(table if rows else f"no runs in {runs} yet; `capetune search` and `capetune train` make them")


@app.command("show", short_help="Everything about one run.")
def show(name: str = typer.Argument(...), runs: Path = common.Runs, as_json: bool = Json) -> None:
    """Show a run: its state, what its scores are of, its best checkpoint, its trials or epochs.

    Example:

      capetune runs show decoder-20261123-081500
    """
    import json

    from rich.table import Table

    from capetune.runs.history import read_history
    from capetune.runs.registry import find_run
    from capetune.runs.results import read_results

    run = find_run(runs, name)
    tables = []
    if run.kind == "promote":  # its intervals need scipy, which takes a second to import
        from capetune.reports.promotion import promotion_table
        from capetune.runs.promotion import read_tables

        tables = read_tables(run.folder)
    trials = read_results(run.folder).get("trials", [])
    history = read_history(run.folder)
    if as_json:
        print(json.dumps({**run.facts, **_row(run), "trials": trials, "history": history, "tables": tables}, indent=2))
        return
    console = common.console()
    for key, value in {**_row(run), **{k: v for k, v in run.facts.items() if k not in ("config", *_row(run))}}.items():
        text = json.dumps(value) if isinstance(value, dict | list) else value
        if value is not None:
            console.print(f"{key}: {text}", soft_wrap=True, highlight=False, markup=False)
    for each in tables:
        console.print(f"{each['protocol']} of the test parts:", soft_wrap=True)
        console.print(promotion_table(each))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    if trials:
        for column in ("trial", "status", "score", "mPCK4", "template", "epochs", "config", "checkpoint"):
            table.add_column(column, overflow="fold")
        for trial in trials:
            metrics = [trial["score"], trial["metrics"].get("mpck4"), trial["template"]]
            cells = ["–" if value is None else f"{value:.3f}" for value in metrics]
            status = trial["status"] + ("" if trial["twin"] is None else f" = {trial['twin']}")
            hashed, kept = trial["config_hash"] or "–", trial["checkpoint"] or "–"
            table.add_row(str(trial["number"]), status, *cells, str(trial["epochs"]), hashed, kept)
    elif history:
        for column in ("epoch", "val mPCK4", "template", "teacher-forced", "train loss", "val loss", "seconds"):
            table.add_column(column, justify="right")
        for row in history:
            values = [row[key] for key in ("mpck4", "template_mpck4", "forced_mpck4", "train_loss", "val_loss")]
            table.add_row(f"{row['epoch']:.0f}", *(f"{value:.3f}" for value in values), f"{row['seconds']:.0f}")
    if table.rows:
        console.print(table)


@app.command("diff", short_help="What differs between two runs.")
def diff(
    first: str = typer.Argument(...), second: str = typer.Argument(...), runs: Path = common.Runs, as_json: bool = Json
) -> None:
    """Compare two runs: the configuration keys that differ (of a search: its best trial's), data, protocol, scores.

    Example:

      capetune runs diff tiny-3f9c21 tiny-88ab01
    """
    import json

    from rich.table import Table

    from capetune.runs.registry import find_run

    pair = [find_run(runs, name) for name in (first, second)]
    for run in pair:
        if run.kind == "promote":
            raise UserError(f"{run.name} is a promotion: it has many scores; see `capetune runs show {run.name}`")
    facts = [_comparable(run) for run in pair]
    keys = [key for key in dict.fromkeys([*facts[0], *facts[1]]) if facts[0].get(key) != facts[1].get(key)]
    if as_json:
        print(json.dumps({key: [each.get(key) for each in facts] for key in keys}, indent=2))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("", first, second):
        table.add_column(name, overflow="fold")
    for key in keys:
        table.add_row(key, *(_cell(each.get(key)) for each in facts))
    console = common.console()
    console.print(table if keys else f"{first} and {second} have the same configuration, data and scores")
    if any(key in keys for key in ("protocol", "pack", "split", "shots", "validation")):
        console.print("their scores are of other data or another protocol: they can't be compared", highlight=False)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _row(run: Run) -> dict[str, Any]:
    best = run.best()
    metrics = best[1].metrics if best else {}
    missing = run.facts.get("missing_categories", {})
    return {
        "name": run.name,
        "kind": run.kind,
        "state": run.state_now,
        "mpck4": metrics.get("mpck4"),
        "template": metrics.get("template_mpck4"),
        "checkpoint": str(best[0]) if best else None,
        "config_hash": best[1].config.hash() if best else run.facts.get("config_hash"),
        "data": run.facts.get("data"),
        "split": run.facts.get("split"),
        "missing": sum(map(len, missing.values())),
        "started": str(run.facts.get("started")),
    }


def _comparable(run: Run) -> dict[str, Any]:
    from capetune.config import leaf_keys
    from capetune.tuning.space import config_value

    row, best = _row(run), run.best()
    found = {key: row[key] for key in ("kind", "state", "data", "split", "mpck4", "template")}
    found |= {key: run.facts.get(key) for key in ("pack", "missing_categories")}
    if best:
        found |= {"validation": best[1].config.validation.model_dump()}
        found |= {key: config_value(best[1].config, key) for key in leaf_keys()}
    return found
