"""The outcome of a search as files and as a table."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from capetune.config import Config
from capetune.datasets.whole import write_aside
from capetune.reports.live import STYLES, share, short, tails, title
from capetune.tuning.goal import Goal
from capetune.tuning.trial import TrialResult

COLUMNS = ("number", "status", "score", "template", "epochs", "seconds", "config_hash", "twin", "checkpoint", "error")


def write_results(folder: Path, base: Config, facts: dict[str, Any], results: list[TrialResult]) -> None:
    """results.json, results.csv (a line a trial) and best.yaml (the best trial's whole configuration).

    results: best first. facts: what the scores are of: protocol, split, shots, data, missing categories. best.yaml
    isn't written while no trial has a score.
    """
    rows = [{**asdict(result), "template": result.template, "epochs": result.epochs} for result in results]
    write_aside(folder / "results.json", json.dumps({**facts, "trials": rows}, indent=2) + "\n")
    keys = _keys(results)
    pck = [name for name in results[0].metrics if name.startswith("pck_")] if results else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *pck, *keys])
    for row in rows:
        values = [*(row["metrics"].get(name) for name in pck), *(row["overrides"].get(key) for key in keys)]
        writer.writerow([*(row[name] for name in COLUMNS), *values])
    write_aside(folder / "results.csv", text.getvalue())
    if results and results[0].score is not None:
        best = base.with_overrides(results[0].overrides)
        what = title(facts["goal"][0])
        head = f"# Trial {results[0].number} of {folder.name}: validation {what} {results[0].score:.4f}\n"
        write_aside(folder / "best.yaml", head + best.to_yaml())


def _keys(results: list[TrialResult]) -> list[str]:
    """Every varied key; one that stands under a condition is not every trial's."""
    return list(dict.fromkeys(key for result in results for key in result.overrides))


def results_table(results: list[TrialResult], goal: Goal, most: int = 10) -> Table:
    """The best trials, with the template's mPCK4 on the same pairs beside each."""
    keys = _keys(results)
    shown = f"best {min(most, len(results))} of {len(results)} trials" if len(results) > most else None
    table = Table(title=shown, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    metrics = list(dict.fromkeys([*goal.metrics, "mpck4"]))
    for name in ("trial", "status", *map(title, metrics), "template", "PCK@.2", "epochs"):
        table.add_column(name, justify="left" if name == "status" else "right", no_wrap=True)
    for name in tails(keys):
        table.add_column(name, justify="right", overflow="ellipsis")
    for place, result in enumerate(results[:most]):
        scores = [share(result.metrics.get(name)) for name in (*metrics, "template_mpck4", "pck_0.2")]
        values = [short(result.overrides[key]) if key in result.overrides else "–" for key in keys]
        first = place == 0 and result.score is not None
        style = "bold green" if first else STYLES.get(result.status, "")
        mark = f"{result.number}{'★' if first else ' '}"
        status = Text(result.status)
        if result.twin is not None:
            status.append(f" = {result.twin}", "bold yellow")
        table.add_row(mark, status, *scores, str(result.epochs), *values, style=style)
    return table


def results_lines(folder: Path, results: list[TrialResult], facts: dict[str, Any], most: int = 10) -> list[str]:
    """What belongs under the table: what the scores are of, the checkpoints of its trials, failures, files."""
    count = {status: sum(result.status == status for result in results) for status in ("pruned", "failed", "stopped")}
    cut = f", {count['stopped']} cut off by the budget" if count["stopped"] else ""
    lines = [
        f"{len(results)} trials, {count['pruned']} pruned, {count['failed']} failed{cut}; scores are "
        f"{facts['protocol']}, {facts['shots']} shot, {facts['data']} data, split {facts['split']}",
        "checkpoints:",
    ]
    for result in results[:most]:
        if result.checkpoint:
            what = f"{title(facts['goal'][0])} {share(result.score)}"
            lines.append(f"  trial {result.number}  {what}  {folder / result.checkpoint}")
    for result in results:
        if result.status == "failed":
            lines.append(f"trial {result.number} failed: {result.error}; traceback in {folder / str(result.traceback)}")
    same = [f"{result.number} as {result.twin}" for result in results if result.twin is not None]
    if same:
        lines.append(f"trials with the configuration of an earlier one: {', '.join(same)}; the space is nearly used up")
    return [*lines, f"written: {folder}/results.json, results.csv, best.yaml"]
