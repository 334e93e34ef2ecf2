"""`capetune search`: search hyperparameters with Ray Tune and Optuna."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common


def command(
    context: typer.Context,
    space: str | None = typer.Option(
        None, "--space", metavar="FILE", help="Search space: a YAML file or a built-in one (capetune space list)."
    ),
    data: str | None = typer.Option(
        None,
        "--data",
        metavar="PACK",
        help="A pack: a folder, s3://, gs://, http(s)://. Default: the built-in set.",
    ),
    warm_start: list[str] = typer.Option(
        [], "--warm-start", metavar="NAME", help="Begin with what an earlier search found; may be repeated."
    ),
    top: int = typer.Option(5, "--top", min=1, help="How many of its best points come first where no result counts."),
    trials: int | None = typer.Option(
        None, "--trials", min=1, help="How many configurations to try in all; default: the space's budget, else 20."
    ),
    hours: float | None = typer.Option(None, "--hours", min=0.0, help="End after so many hours; --resume goes on."),
    split: int | None = common.Split,
    preset: str | None = common.MaybePreset,
    config: Path | None = common.ConfigFile,
    set: list[str] = common.Settings,
    workers_per_trial: int | None = typer.Option(
        None, "--workers-per-trial", min=1, help="Training workers (DDP) each trial has; default: 1."
    ),
    trials_per_gpu: str | None = typer.Option(
        None,
        "--trials-per-gpu",
        metavar="N|auto",
        help="Trials that share a GPU, each with its part of the memory; auto: as many as fit; default: 1.",
    ),
    at_once: int | None = common.AtOnce,
    cpus: int | None = common.Cpus,
    keep: int | None = typer.Option(
        None, "--keep", min=1, help="Best trials whose best checkpoint is kept; default: 3."
    ),
    cache_features: int = common.CacheFeatures,
    features: Path | None = common.Features,
    name: str | None = common.Name,
    resume: str | None = typer.Option(None, "--resume", metavar="NAME", help="Go on with a search, or extend it."),
    resume_or_start: bool = typer.Option(
        False, "--resume-or-start", help="With --name: go on with it where it was begun; for schedulers that repeat."
    ),
    retry_failed: bool = typer.Option(
        False, "--retry-failed", help="With --resume: train failed trials again, as new ones with the same values."
    ),
    storage: str | None = typer.Option(
        None,
        "--storage",
        metavar="URL",
        help="Optuna's storage, such as postgresql://user@host/db (PGPASSWORD is read); default: a journal in the run.",
    ),
    track: common.Tracker | None = common.Track,
    on_end: str | None = common.OnEnd,
    runs: str = common.Runs,
    address: str | None = common.Address,
    verbose: bool = common.Verbose,
    as_json: bool = common.Json,
) -> None:
    """Try configurations, score each on the split's validation categories, keep the best.

    Trial 0 is the configuration that --preset, --config and --set describe. Optuna proposes the others, a scheduler
    stops the poor ones early: TPE and ASHA where the space doesn't say otherwise. results.json, results.csv and
    best.yaml land in runs/NAME; go on with `capetune train --best`.

    A search that was cut off, by Ctrl-C or by a power failure, goes on with --resume NAME: no trial is lost and none
    is run again. With --trials or --hours larger than before a finished one is extended: docs/search.md.

    Examples:

      capetune search --space decoder.yaml --data shards/ --trials 40 --split 3

      capetune search --space losses --preset demo --trials 8 --set train.epochs=4

      capetune search --space losses --preset demo --cache-features 16

      capetune search --resume decoder-20261123-081500 --trials 60

      capetune search --space decoder --name night --resume-or-start

      capetune search --space wider.yaml --data shards/ --warm-start night --top 5
    """
    from capetune.service import search

    result = common.run(search, search.SearchRequest.of(**common.asked(context)), as_json)
    if not as_json and not result.already:
        from capetune.reports.search import next_lines, results_lines, results_tables

        common.console().print(*results_tables(result))
        common.say(*results_lines(result.folder, result.trials, result.facts), *next_lines(result))
