"""An evaluation's report on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

NUMBERS = ("@.05", "@.10", "@.15", "@.20", "@.25", "mean of 4", "mean of 5")


def print_report(report: Any, console: Console) -> None:
    """report: an EvalReport. Two tables, the predictor's rows above the template's, and what the scores leave out."""
    from rich.table import Table

    head = f"split {report.split} {report.part}, {report.shots}-shot, {report.protocol}"
    total = Table("PCK", title=head)
    rows = Table("id", "category", "", title="By category")
    rows.add_column("pairs", justify="right")
    for title in NUMBERS:
        total.add_column(title, justify="right")
        rows.add_column(title, justify="right")
    total.add_row(report.predictor, *_shares(report.scores))
    if report.predictor != "template":
        total.add_row("template", *_shares(report.template))
    for row in report.per_category:
        pairs = str(row.scores.pairs)
        rows.add_row(str(row.category.id), row.category.name, report.predictor, pairs, *_shares(row.scores))
        if report.predictor != "template":
            rows.add_row("", "", "template", pairs, *_shares(row.template))
    console.print(total, rows)
    lines = [
        f"{len(report.per_category)} of {len(report.per_category) + len(report.not_sampled)} categories, "
        f"{report.scores.pairs} pairs; {report.empty_pairs} of them have no common visible keypoint and score 0",
        f"data: {'synthetic' if report.synthetic else 'real'}",
    ]
    few = [f"{n.category.name} ({n.category.id}): {n.instances}" for n in report.not_sampled if n.instances]
    if few:
        lines.append(f"not sampled, with fewer than {report.shots + report.queries} instances: {', '.join(few)}")
    if report.missing:
        names = ", ".join(f"{category.name} ({category.id})" for category in report.missing)
        lines.append(f"missing, listed without instances: {names}")
    if report.checkpoint is not None:
        lines.append(f"checkpoint {report.checkpoint}, config {report.config_hash}")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _shares(scores: Any) -> list[str]:
    return [f"{x:.3f}" for x in (*scores.pck, scores.mpck4, scores.mpck5)]
