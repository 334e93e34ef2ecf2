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
from capetune.reports.live import short
from capetune.training.runs import write_aside
from capetune.tuning.trial import TrialResult


def write_results(folder: Path, base: Config, results: list[TrialResult], facts: dict[str, Any]) -> None:
    """results.json, results.csv (a line a trial, best first) and best.yaml (the best trial's whole configuration).

    facts: what the scores are of: protocol, split, shots, data, missing categories. No best.yaml if all failed.
    """
    rows = [asdict(result) for result in results]
    write_aside(folder / "results.json", json.dumps({**facts, "trials": rows}, indent=2) + "\n")
    keys = list(results[0].overrides) if results else []
    text = io.StringIO()
    names = ["number", "status", "score", "template", "epochs", "config_hash", "checkpoint", "error"]
    writer = csv.writer(text)
    writer.writerow([*names, *keys])
    for row in rows:
        writer.writerow([*(row[name] for name in names), *(row["overrides"].get(key) for key in keys)])
    write_aside(folder / "results.csv", text.getvalue())
    if results and results[0].score is not None:
        best = base.with_overrides(results[0].overrides)
        head = f"# Trial {results[0].number} of {folder.name}: validation mPCK4 {results[0].score:.4f}\n"
        write_aside(folder / "best.yaml", head + best.to_yaml())


def results_table(results: list[TrialResult], most: int = 10) -> Table:
    """The best trials, with the template's score on the same pairs beside each."""
    keys = list(results[0].overrides) if results else []
    table = Table(title=f"best {min(most, len(results))} of {len(results)} trials", title_justify="left")
    for name in ("trial", "status", "val mPCK4", "template", "epochs", *(k.rsplit(".", 1)[-1] for k in keys)):
        table.add_column(name, justify="left" if name == "status" else "right")
    for result in results[:most]:
        score = "–" if result.score is None else f"{result.score:.3f}"
        template = "–" if result.template is None else f"{result.template:.3f}"
        values = [short(result.overrides[key]) for key in keys]
        table.add_row(str(result.number), result.status, score, template, str(result.epochs), *values)
    return table
