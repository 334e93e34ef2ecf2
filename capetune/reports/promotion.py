"""The outcome of a promotion: means over splits and seeds, with what they are means of."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from capetune.service.promote import PromoteResult


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


def promotion_lines(result: PromoteResult) -> list[str]:
    """What belongs under the table."""
    protocol = result.table["protocol"]
    lines = [f"{protocol} of the test parts, unseen categories, {result.data} data; means over the splits"]
    lines += [f"missing in split {split}: {', '.join(names)}" for split, names in result.missing.items() if names]
    lines += [result.mp100] if result.mp100 else []
    lines += [f"{job} failed: {error}" for job, error in result.errors.items()]
    return [*lines, f"written: {result.file}"]
