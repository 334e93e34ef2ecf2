"""`capetune promote`: the best configuration of a search on every split and seed, scored officially."""

from __future__ import annotations

import typer

from capetune.cli import common
from capetune.errors import UserError


def command(
    context: typer.Context,
    name: str = typer.Argument(..., help="The search whose best configuration is promoted."),
    splits: str = typer.Option("1-5", "--splits", help="Such as 1-5, or 1,3."),
    shots: str = typer.Option("1,5", "--shots", help="Supports an episode, such as 1,5."),
    seeds: int = typer.Option(3, "--seeds", min=1, help="Trainings a split."),
    rank: int = common.Rank,
    set: list[str] = common.Settings,
    data: str | None = typer.Option(None, "--data", metavar="PACK", help="Default: the search's data."),
    workers: int = typer.Option(1, "--workers", min=1, help="Training workers (DDP) each job has."),
    at_once: int | None = common.AtOnce,
    cpus: int | None = common.Cpus,
    episodes: int | None = typer.Option(None, "--episodes", min=1, help="Episodes a category; default: official, 200."),
    queries: int = typer.Option(15, "--queries", min=1, help="Queries an episode; 15 is official."),
    track: common.Tracker | None = common.Track,
    on_end: str | None = common.OnEnd,
    runs: str = common.Runs,
    address: str | None = common.Address,
    verbose: bool = common.Verbose,
    as_json: bool = common.Json,
) -> None:
    """Train the best configuration on every split with every seed, and score each on its split's test categories.

    Each split and seed is a job in runs/NAME-promoted; as many run at once as the cluster has room for. Interrupted,
    the same command goes on where it was. The table has the mean over splits with its 95 % confidence interval over
    seeds, beside the template on the same pairs. promotion.json keeps it, and the tables of other splits, shots, seeds
    and protocols asked for before; `capetune runs show NAME-promoted` shows them.

    Examples:

      capetune promote decoder-20261123-081500 --set train.epochs=300 --workers 8

      capetune promote smoke --splits 1,2 --seeds 2 --shots 1 --episodes 3
    """
    from capetune.service import promote

    result = common.run(promote, promote.PromoteRequest.of(**common.asked(context)), as_json)
    if not as_json:
        from capetune.reports.promotion import promotion_lines, promotion_table

        common.console().print(promotion_table(result.table))
        common.say(*promotion_lines(result))
    if result.left:
        raise UserError(f"{result.left} jobs of {result.jobs} didn't end; run the same command again")
