"""`capetune steer`: change what a running search does."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common


def command(
    context: typer.Context,
    name: str = typer.Argument(..., help="The search, which runs here or on another machine."),
    add: Path | None = typer.Option(
        None, "--add", metavar="FILE", help="Points to try next: a YAML list of them, as a space's `points`."
    ),
    stop: list[int] = typer.Option([], "--stop", metavar="TRIAL", min=0, help="End that trial; may be repeated."),
    trials: int | None = typer.Option(None, "--trials", min=1, help="How many trials there are to be in all."),
    runs: str = common.Runs,
    as_json: bool = common.Json,
) -> None:
    """Change what a search does while it runs, from any terminal or machine that sees its folder or address.

    Points come before what the sampler proposes; they count as trials, of which there are more where too few are left.
    A trial that is ended keeps its record, as halted. Fewer --trials let those that run go on to their end. The search
    says what it takes up, and goes on with it when it is resumed.

    Examples:

      capetune steer night --add points.yaml

      capetune steer night --stop 7 --stop 9

      capetune steer night --trials 80 --runs s3://bucket/runs
    """
    from capetune.service import steer

    result = common.run(steer, steer.SteerRequest.of(**common.asked(context)), as_json)
    if not as_json:
        from capetune.reports.steering import asked_lines

        common.say(*asked_lines(result))
