"""The outcome of a promotion: means over splits and seeds, with what they are means of."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from scipy import stats

if TYPE_CHECKING:
    from capetune.tuning.promote import Promotion

CONFIDENCE = 0.95
FILE = "promotion.json"


def tabulated(promotion: Promotion) -> dict[str, Any]:
    """What was asked, and `rows`, the `summary`: one of the tables of promotion.json."""
    asked = {"splits": list(promotion.splits), "shots": list(promotion.shots), "seeds": promotion.seeds}
    return {**asked, "protocol": promotion.protocol, "rows": summary(promotion)}


def read_tables(folder: Path) -> list[dict[str, Any]]:
    """The tables that a promotion's folder holds so far."""
    file = folder / FILE
    return json.loads(file.read_text())["tables"] if file.is_file() else []


def with_table(tables: list[dict[str, Any]], table: dict[str, Any]) -> list[dict[str, Any]]:
    """The tables with this one last, in place of an earlier one of the same splits, shots, seeds and protocol."""
    asked = ("splits", "shots", "seeds", "protocol")
    return [other for other in tables if any(other[key] != table[key] for key in asked)] + [table]


def summary(promotion: Promotion) -> list[dict[str, Any]]:
    """For each number of shots: mPCK4 of each split (mean over the seeds that are done), the mean over splits with its
    95 % confidence interval, and the template's on the same pairs.

    The interval is Student's over seeds, each seed counting with its mean over all splits; None for a single seed, or
    while some job of a seed is missing.
    """
    rows = []
    for shots in promotion.shots:
        model: dict[int, list[float]] = {}
        template: dict[int, list[float]] = {}
        seeds: dict[int, list[float]] = {}
        for job in promotion.jobs():
            report = promotion.report(job, shots)
            if report is not None:
                split, seed = job["overrides"]["data.split"], job["overrides"]["seed"]
                model.setdefault(split, []).append(report["mpck4"])
                template.setdefault(split, []).append(report["template"]["mpck4"])
                seeds.setdefault(seed, []).append(report["mpck4"])
        whole = [statistics.mean(scores) for scores in seeds.values() if len(scores) == len(promotion.splits)]
        done = sum(map(len, model.values()))
        row: dict[str, Any] = {"shots": shots, "jobs": len(promotion.jobs()), "done": done}
        row["splits"] = {split: statistics.mean(scores) for split, scores in model.items()}
        row["mpck4"] = statistics.mean(row["splits"].values()) if model else None
        row["template"] = statistics.mean(map(statistics.mean, template.values())) if model else None
        row["interval"] = interval(whole) if len(whole) == promotion.seeds else None
        rows.append(row)
    return rows


def interval(values: list[float]) -> float | None:
    """Half the width of Student's 95 % confidence interval of the mean; None of fewer than two values."""
    if len(values) < 2:
        return None
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    return float(quantile * statistics.stdev(values) / len(values) ** 0.5)


def promotion_table(table: dict[str, Any]) -> Table:
    """One of `tabulated`'s."""
    seeds, splits = table["seeds"], table["splits"]
    title = f"mPCK4 on test, {seeds} seed{'s' * (seeds > 1)} a split"
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title=title, title_justify="left")
    for name in ("shots", *(f"split {split}" for split in splits), "mean", "± 95 %", "template", "jobs"):
        shown.add_column(name, justify="right", no_wrap=True)
    for row in table["rows"]:
        scores = {int(split): score for split, score in row["splits"].items()}  # JSON's keys are text
        values = [*(scores.get(split) for split in splits), row["mpck4"], row["interval"], row["template"]]
        cells = ["–" if value is None else f"{value:.3f}" for value in values]
        shown.add_row(str(row["shots"]), *cells, f"{row['done']}/{row['jobs']}")
    return shown
