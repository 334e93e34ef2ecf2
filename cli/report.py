"""`capetune report`: a run as a page to read."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common


def command(
    name: str = typer.Argument(..., metavar="NAME", help="The run, as its folder below --runs is called."),
    runs: str = common.Runs,
    out: Path | None = typer.Option(
        None, "--out", metavar="FILE", help="Where the page goes; default: runs/NAME/report.html."
    ),
) -> None:
    """Write what a search, a training or a promotion found as one HTML page, which needs no network.

    Of a search: the best trial beside the template, how the search went, which parameters mattered, every trial's
    learning curve, a table to sort, failures with their tracebacks; its figures land in runs/NAME/figures as PNG too.
    Of a training: losses and PCK an epoch beside the template, where the time went, machines lost. Of a promotion:
    each job's scores beside the template on the same pairs, means and deviations, a table a protocol. A run that still
    goes on, or was cut off, has a report too: of what has ended.

    Examples:

      capetune report decoder-20261123-081500

      capetune report decoder-20261123-081500-promoted --runs s3://bucket/runs

      capetune report tiny-3fa1b2 --out ~/tiny.html
    """
    from capetune.runs.home import at_home
    from capetune.runs.registry import find_run

    with at_home(runs) as home:
        run = find_run(home, name)
        if run.kind == "search":
            from capetune.reports.html import write_report
            from capetune.reports.search import report_lines

            lines = report_lines(run, write_report(run, out))
        elif run.kind == "train":
            from capetune.reports.course_page import write_report as write_course

            lines = write_course(run, out)
        else:
            from capetune.reports.promoted_page import write_report as write_promoted

            lines = write_promoted(run, out)
        common.say(*lines)
