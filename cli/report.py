"""`capetune report`: a search as a page to read, and its figures as files."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common


def command(
    name: str = typer.Argument(..., metavar="NAME", help="The search, as its folder below --runs is called."),
    runs: Path = common.Runs,
    out: Path | None = typer.Option(
        None, "--out", metavar="FILE", help="Where the page goes; default: runs/NAME/report.html."
    ),
) -> None:
    """Write what a search found as one HTML page, which needs no network, and its figures as PNG.

    The best trial beside the template, how the search went, which parameters mattered, every trial's learning curve,
    a table to sort, failures with their tracebacks. The figures land in runs/NAME/figures. A search that still runs, or
    was cut off, has a report too: of the trials that have ended.

    Examples:

      capetune report decoder-20261123-081500

      capetune report decoder-20261123-081500 --out ~/decoder.html
    """
    from capetune.runs.registry import find_run

    run = find_run(runs, name, "search")

    from capetune.reports.html import in_words, write_report
    from capetune.runs.metrics import title

    report = write_report(run, out)
    story, best = report.story, report.story.best
    lines = [
        f"{name}: {story.state}, {len(story.rows) - story.open} of {run.facts.get('trials', '?')} trials have ended"
    ]
    if best is not None:
        metric = story.goal.metric
        beside = f", template {story.template:.3f} on the same pairs" if metric == "mpck4" and story.template else ""
        lines.append(f"best: trial {best.number}, {title(metric)} {best.metrics[metric]:.3f}{beside}")
    lines += [f"not drawn: {what}: {why}" for what, why in report.missing.items()]
    lines.append(f"written: {report.page} ({in_words(report.page.stat().st_size)})")
    if report.figures:
        names = ", ".join(file.name for file in report.figures)
        lines.append(f"         {report.figures[0].parent}: {names}")
    common.console().print("\n".join(lines), soft_wrap=True)
