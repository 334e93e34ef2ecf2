"""`capetune search`: search hyperparameters with Ray Tune and Optuna."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common


def command(
    space: str = typer.Option(..., "--space", metavar="FILE", help="Search space: a YAML file or a built-in one."),
    data: str = common.Data,
    trials: int = typer.Option(20, "--trials", min=1, help="How many configurations to try."),
    split: int | None = common.Split,
    preset: str = common.Preset,
    config: Path | None = common.ConfigFile,
    settings: list[str] = common.Settings,
    name: str | None = common.Name,
    runs: Path = common.Runs,
    address: str | None = common.Address,
    verbose: bool = common.Verbose,
) -> None:
    """Try configurations, score each on the split's validation categories, keep the best.

    Trial 0 is the configuration that --preset, --config and --set describe. Optuna's TPE proposes the others, ASHA
    stops the poor ones early. results.json, results.csv and best.yaml land in runs/NAME; go on with
    `capetune train --best`.

    Examples:

      capetune search --space decoder.yaml --data shards/ --trials 40 --split 3

      capetune search --space losses.yaml --preset demo --trials 8 --set train.epochs=4
    """
    search(space, data, trials, split, preset, config, settings, name, runs, address, verbose)


def search(
    space_name: str,
    data: str,
    trials: int,
    split: int | None,
    preset: str,
    config_file: Path | None,
    settings: list[str],
    name: str | None,
    runs: Path,
    address: str | None,
    verbose: bool,
) -> str:
    """The command itself; returns the run's name."""
    from datetime import datetime

    from capetune.training.cluster import prepare_environment, ray_cluster

    prepare_environment(address, verbose)  # before anything below imports Ray

    from capetune.config import load_config
    from capetune.datasets.stream import check_readers
    from capetune.errors import UserError
    from capetune.models.backbone import Backbone
    from capetune.reports.live import SearchView
    from capetune.reports.search import results_table, write_results
    from capetune.training.loop import describe_data
    from capetune.training.runs import Run
    from capetune.tuning.space import load_space
    from capetune.tuning.study import run_search

    console = common.console()
    if split is not None:
        settings = [*settings, f"data.split={split}"]
    config = load_config(preset, config_file, settings)
    space = load_space(space_name, config)
    default = space.default(config)
    pack = common.open_data(data, console)
    check_readers(pack, 1, config.data.workers)
    facts = describe_data(pack, config.data.split)
    Backbone(config.model)  # missing weights are said here, not by every trial
    folder = runs / (name or f"{space.source.stem}-{datetime.now():%Y%m%d-%H%M%S}")
    if folder.exists():
        raise UserError(f"{folder} exists already; choose another --name")
    common.say_data(facts, console)
    run = Run(folder, "search", "running")
    scored = {
        "protocol": f"official pairs of the val part, {config.validation.episodes} episodes, "
        f"{config.validation.queries} queries",
        "shots": config.validation.shots,
    }
    with (
        common.recorded(run, config_hash=config.hash(), space=str(space.source), **facts, **scored),
        ray_cluster(address, verbose) as cluster,
    ):
        common.say_cluster(cluster, console)
        with SearchView(console, trials, config.train.epochs, default) as view:
            results = run_search(config, space, pack, folder, cluster, trials, view.hear)
        write_results(folder, config, results, facts | scored)
        failed = sum(result.status == "failed" for result in results)
        if failed == len(results):
            raise UserError(
                f"all {failed} trials failed, the first with: {results[0].error}; see {folder}/results.json"
            )
    console.print(results_table(results))
    console.print(
        f"{len(results)} trials: {failed} failed, {sum(r.status == 'pruned' for r in results)} pruned; "
        f"scores are {scored['protocol']}, {scored['shots']} shot, {facts['data']} data\n"
        f"best checkpoint: {results[0].checkpoint}\n"
        f"{folder}/results.json  results.csv  best.yaml   next: capetune train --best {run.name}",
        soft_wrap=True,
        highlight=False,
    )
    return run.name
