"""`capetune data plan`: what a training would read of a pack."""

from __future__ import annotations

from typing import Literal

import typer

from capetune.cli import common


def command(
    data: str = typer.Argument(..., metavar="PACK", help="A pack: a folder, s3://…, gs://…, http://…, or `synthetic`."),
    ranks: int = typer.Option(1, "--ranks", min=1, help="Training workers, as `train --workers`."),
    loaders: int = typer.Option(0, "--loaders", min=0, help="Loader processes of each, as data.workers."),
    batch: int = typer.Option(8, "--batch", min=1, help="Samples a rank and step, as train.batch_size × accumulate."),
    split: int = typer.Option(1, "--split", min=1, max=5, help="MP-100 split."),
    balance: Literal["instances", "categories"] = typer.Option("instances", "--balance", help="As data.balance."),
    epochs: int = typer.Option(2, "--epochs", min=1, help="How many to run through."),
    seed: int = typer.Option(42, "--seed", min=0, help="As the configuration's."),
    as_json: bool = typer.Option(False, "--json", help="Print a JSON document."),
) -> None:
    """Run a training's order of samples without training: what every rank and loader reads in the first epochs.

    Equal steps on every rank, how many samples an epoch sees once, again or not at all, whether the order changes, and
    how well batches mix the categories. Exit code 2, with the cure, where such a training can't run.

    Examples:

      capetune data plan shards --ranks 16 --loaders 4

      capetune data plan s3://bucket/mp100 --ranks 8 --batch 32 --split 3 --json
    """
    import json

    from capetune.datasets.episodes.plan import plan
    from capetune.reports.plan import plan_lines, plan_table, plan_warnings

    found = plan(common.open_data(data), split, ranks, loaders, batch, seed, epochs, balance)
    if as_json:
        print(json.dumps(found.to_json(), indent=2))
        return
    common.console().print(plan_table(found))
    common.say(*plan_lines(found))
    common.warn(*plan_warnings(found))
