"""`capetune search`: search hyperparameters with Ray Tune and Optuna."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from capetune.cli import common
from capetune.errors import UserError

if TYPE_CHECKING:
    from capetune.tuning.trial import TrialResult


class SearchFailed(Exception):
    """No trial has a score, and not because of what the user gave. The message is one line."""


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
    from functools import partial

    from capetune.training.cluster import prepare_environment, ray_cluster

    prepare_environment(address, verbose)  # before anything below imports Ray

    from capetune.config import load_config
    from capetune.datasets.stream import check_readers
    from capetune.models.backbone import Backbone
    from capetune.reports.live import SearchView
    from capetune.reports.search import results_lines, results_table, write_results
    from capetune.training.loop import describe_data
    from capetune.training.runs import Run, run_folder
    from capetune.tuning.space import load_space
    from capetune.tuning.study import check_scorable, run_search

    console = common.console()
    if split is not None:
        settings = [*settings, f"data.split={split}"]
    config = load_config(preset, config_file, settings)
    space = load_space(space_name, config)
    space.default(config)
    pack = common.open_data(data, console)
    check_readers(pack, 1, config.data.workers)
    check_scorable(pack, config.data.split)
    facts = describe_data(pack, config.data.split)
    Backbone(config.model)  # missing weights are said here, not by every trial
    folder = run_folder(runs, name or f"{space.source.stem}-{datetime.now():%Y%m%d-%H%M%S}")
    if folder.exists():
        raise UserError(f"{folder} exists already; choose another --name")
    common.say_data(facts, console)
    run = Run(folder, "search", "running")
    scored = {
        "protocol": f"official pairs of the val part, {config.validation.episodes} episodes, "
        f"{config.validation.queries} queries",
        "shots": config.validation.shots,
    }
    facts |= scored
    with (
        ray_cluster(address, verbose) as cluster,
        common.recorded(run, config_hash=config.hash(), space=str(space.source), trials=trials, **facts),
    ):
        common.say_cluster(cluster, console)
        # Kept at every trial's end, so that an interrupted search has a best configuration too.
        keep = partial(write_results, folder, config, facts)
        with SearchView(console, trials, config.train.epochs, list(space.parameters)) as view:
            results = run_search(config, space, pack, folder, cluster, trials, view.hear, keep)
        failed = [result for result in results if result.status == "failed"]
        if len(failed) == len(results):
            raise _all_failed(failed)
    console.print(results_table(results))
    lines = [*results_lines(folder, results, facts), f"next: capetune train --best {run.name}"]
    console.print("\n".join(lines), soft_wrap=True, highlight=False, markup=False)
    return run.name


def _all_failed(failed: list[TrialResult]) -> Exception:
    first = min(failed, key=lambda result: result.number)
    message = f"all {len(failed)} trials failed, the first with: {first.error}; its traceback is in {first.traceback}"
    return UserError(message) if all(result.bad_input for result in failed) else SearchFailed(message)
