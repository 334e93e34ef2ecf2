"""The outcome of a search as files and as a table."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from capetune.config import Config
from capetune.reports.live import STYLES, share, short, tails
from capetune.training.runs import write_aside
from capetune.tuning.trial import TrialResult

COLUMNS = ("number", "status", "score", "template", "epochs", "seconds", "config_hash", "checkpoint", "error")


def write_results(folder: Path, base: Config, facts: dict[str, Any], results: list[TrialResult]) -> None:
    """results.json, results.csv (a line a trial) and best.yaml (the best trial's whole configuration).

    results: best first. facts: what the scores are of: protocol, split, shots, data, missing categories. best.yaml
    isn't written while no trial has a score.
    """
    rows = [{**asdict(result), "template": result.template, "epochs": result.epochs} for result in results]
    write_aside(folder / "results.json", json.dumps({**facts, "trials": rows}, indent=2) + "\n")
    keys = list(results[0].overrides) if results else []
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
        head = f"# Trial {results[0].number} of {folder.name}: validation mPCK4 {results[0].score:.4f}\n"
        write_aside(folder / "best.yaml", head + best.to_yaml())


def results_table(results: list[TrialResult], most: int = 10) -> Table:
    """The best trials, with the template's score on the same pairs beside each."""
    keys = list(results[0].overrides) if results else []
    title = f"best {min(most, len(results))} of {len(results)} trials" if len(results) > most else None
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("trial", "status", "mPCK4", "template", "PCK@.2", "epochs"):
        table.add_column(name, justify="left" if name == "status" else "right", no_wrap=True)
    for name in tails(keys):
        table.add_column(name, justify="right", overflow="ellipsis")
    for place, result in enumerate(results[:most]):
        scores = [share(x) for x in (result.score, result.template, result.metrics.get("pck_0.2"))]
        values = [short(result.overrides[key]) for key in keys]
        first = place == 0 and result.score is not None
        style = "bold green" if first else STYLES.get(result.status, "")
        mark = f"{result.number}{'★' if first else ' '}"
        table.add_row(mark, result.status, *scores, str(result.epochs), *values, style=style)
    return table


def results_lines(folder: Path, results: list[TrialResult], facts: dict[str, Any], most: int = 10) -> list[str]:
    """What belongs under the table: what the scores are of, the checkpoints of its trials, failures, files."""
    count = {status: sum(result.status == status for result in results) for status in ("pruned", "failed")}
    lines = [
        f"{len(results)} trials, {count['pruned']} pruned, {count['failed']} failed; scores are "
        f"{facts['protocol']}, {facts['shots']} shot, {facts['data']} data, split {facts['split']}",
        "checkpoints:",
    ]
    for result in results[:most]:
        if result.checkpoint:
            lines.append(f"  trial {result.number}  mPCK4 {share(result.score)}  {result.checkpoint}")
    for result in results:
        if result.status == "failed":
            lines.append(f"trial {result.number} failed: {result.error}; traceback in {result.traceback}")
    return [*lines, f"written: {folder}/results.json, results.csv, best.yaml"]
