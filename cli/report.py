"""`capetune report`: a search as a page to read, and its figures as files."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common


def command(
    name: str = typer.Argument(..., metavar="NAME", help="The search, as its folder below --runs is called."),
    runs: str = common.Runs,
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
    from capetune.reports.search import report_lines
    from capetune.runs.home import at_home
    from capetune.runs.registry import find_run

    with at_home(runs) as home:
        run = find_run(home, name, "search")

        from capetune.reports.html import write_report

        common.say(*report_lines(run, write_report(run, out)))
