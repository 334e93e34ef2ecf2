"""`capetune train`: train one configuration with Ray Train."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common


def command(
    context: typer.Context,
    search: str | None = typer.Argument(None, help="With --best: the search to take it from; default: the latest."),
    best: bool = typer.Option(False, "--best", help="Train the best configuration of a search."),
    rank: int = common.Rank,
    from_: str | None = typer.Option(
        None,
        "--from",
        metavar="CHECKPOINT|NAME",
        help="Fine-tune: begin with the weights and the model of a checkpoint, or of a run's best.",
    ),
    longer: str | None = typer.Option(
        None,
        "--longer",
        metavar="CHECKPOINT|NAME",
        help="Go on with that training, its optimiser and its epochs, as a new run.",
    ),
    data: str | None = typer.Option(
        None, "--data", metavar="PACK", help="A pack, or `synthetic`. Default: the search's data, else synthetic."
    ),
    split: int | None = common.Split,
    preset: str | None = common.MaybePreset,
    config: Path | None = common.ConfigFile,
    set: list[str] = common.Settings,
    workers: str = typer.Option(
        "1",
        "--workers",
        metavar="N|MIN:MAX",
        help="Training workers (DDP), one GPU each where there are any; 2:8: as "
        "many of these as there is room for, when machines come and go too.",
    ),
    cpus: int | None = common.Cpus,
    cache_features: int = common.CacheFeatures,
    features: Path | None = common.Features,
    profile: bool = typer.Option(
        False, "--profile", help="Trace some steps of the first worker into the run's trace.json.gz, for Perfetto."
    ),
    ledger: bool = typer.Option(
        False, "--ledger", help="Note the samples of every step in the run's ledger.jsonl, by rank."
    ),
    name: str | None = common.Name,
    track: common.Tracker | None = common.Track,
    on_end: str | None = common.OnEnd,
    runs: str = common.Runs,
    address: str | None = common.Address,
    verbose: bool = common.Verbose,
    as_json: bool = common.Json,
) -> None:
    """Train a configuration to its end; the best and the last checkpoint are kept.

    Interrupted, the same command goes on from the last finished epoch, or from the middle of a long one: such are kept
    every ten minutes (train.save_minutes). One that has ended goes on to more epochs: --name NAME --set train.epochs=….

    Examples:

      capetune train --preset demo

      capetune train --best --set train.epochs=300 --workers 8 --data shards/

      capetune train --best --workers 2:8 --address auto --runs s3://bucket/runs

      capetune train --from decoder-20261123-081500 --rank 2 --data mine/ --set train.epochs=20

      capetune train --name demo-a1b2c3 --set train.epochs=50

      capetune train --preset demo --set train.epochs=1 --profile
    """
    from capetune.service import train

    result = common.run(train, train.TrainRequest.of(**common.asked(context)), as_json)
    if not as_json:
        from capetune.reports.training import result_lines

        common.say(*result_lines(result))
