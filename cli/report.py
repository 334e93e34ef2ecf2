"""`capetune report`: a run as a page to read."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import typer

from capetune.cli import common
from capetune.errors import UserError


def command(
    name: str = typer.Argument(
        ..., metavar="NAME", help="The run, as its folder below --runs is called, or a file of `eval --json`."
    ),
    runs: str = common.Runs,
    out: Path | None = typer.Option(
        None, "--out", metavar="FILE", help="Where the page goes; default: runs/NAME/report.html, or beside the file."
    ),
    data: str | None = typer.Option(
        None, "--data", metavar="PACK", help="Of an evaluation: the pack that it scored, where it isn't where it was."
    ),
) -> None:
    """Write what a search, a training, a promotion or an evaluation found as one HTML page, which needs no network.

    Of a search: the best trial beside the template, how the search went, which parameters mattered, every trial's
    learning curve, a table to sort, failures with their tracebacks; its figures land in runs/NAME/figures as PNG too.
    Of a training: losses and PCK an epoch beside the template, where the time went, machines lost. Of a promotion:
    each job's scores beside the template on the same pairs, means and deviations, a table a protocol. A run that still
    goes on, or was cut off, has a report too: of what has ended. Of an evaluation: the PCK curve, categories, missed
    keypoints by kind, and the best, typical and worst pairs on their pictures with truth, prediction, template and
    where the model looked for each keypoint.

    Examples:

      capetune report decoder-20261123-081500

      capetune report decoder-20261123-081500-promoted --runs s3://bucket/runs

      capetune report tiny-3fa1b2 --out ~/tiny.html

      capetune eval --json mine.json && capetune report mine.json
    """
    if name.endswith(".json"):
        common.say(*_of_result(Path(name), data, out))
        return
    if data is not None:
        raise UserError(
            f"--data is for the report of an evaluation, a file of `eval --json`; {name} is none: leave it out"
        )
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


def _of_result(file: Path, data: str | None, out: Path | None) -> list[str]:
    from capetune.reports.evaluated import read_result
    from capetune.reports.evaluated_page import scored_model, write_report

    result = read_result(file)
    pack = data or result["pack"]
    if pack is None:
        raise UserError(f"{file} is of annotations alone: give --data the pack that has their pictures")
    with ExitStack() as ends:
        model, more = scored_model(result, ends)
        return [*write_report(result, file, common.open_data(pack), out, model), *more]
