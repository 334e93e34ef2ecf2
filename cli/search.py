"""`capetune search`: search hyperparameters with Ray Tune and Optuna."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from capetune.cli import common
from capetune.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from capetune.config import Config
    from capetune.datasets.packs.reader import Pack
    from capetune.runs.results import TrialResult
    from capetune.tuning.space import Budget, Space

FEATURES = "features"
TRIALS = 20  # where neither the command nor the space says


class Tracker(StrEnum):
    mlflow = "mlflow"
    wandb = "wandb"


class SearchFailed(Exception):
    """No trial has a score, and not because of what the user gave. The message is one line."""


def command(
    space: str | None = typer.Option(
        None, "--space", metavar="FILE", help="Search space: a YAML file or a built-in one (capetune space list)."
    ),
    data: str | None = typer.Option(
        None, "--data", metavar="PACK", help="A pack, or `synthetic`, the built-in set. Default: synthetic."
    ),
    trials: int | None = typer.Option(
        None, "--trials", min=1, help="How many configurations to try in all; default: the space's budget, else 20."
    ),
    hours: float | None = typer.Option(None, "--hours", min=0.0, help="End after so many hours; --resume goes on."),
    split: int | None = common.Split,
    preset: str | None = common.MaybePreset,
    config: Path | None = common.ConfigFile,
    settings: list[str] = common.Settings,
    workers: int | None = typer.Option(
        None, "--workers-per-trial", min=1, help="Training workers (DDP) each trial has; default: 1."
    ),
    keep: int | None = typer.Option(
        None, "--keep", min=1, help="Best trials whose best checkpoint is kept; default: 3."
    ),
    cache: int = typer.Option(
        0,
        "--cache-features",
        metavar="COPIES",
        help="Compute a frozen backbone's features once, of so many augmented copies (16 is good), for all trials.",
    ),
    name: str | None = common.Name,
    resume: str | None = typer.Option(None, "--resume", metavar="NAME", help="Go on with a search, or extend it."),
    storage: str | None = typer.Option(
        None,
        "--storage",
        metavar="URL",
        help="Optuna's storage, such as postgresql://…; default: a journal in the run.",
    ),
    tracker: Tracker | None = typer.Option(
        None, "--track", help="Send every epoch to MLflow or Weights & Biases too (pip install 'capetune[mlflow]')."
    ),
    runs: Path = common.Runs,
    address: str | None = common.Address,
    verbose: bool = common.Verbose,
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
    """
    if resume is None and space is None:
        raise UserError("what is to be searched? give --space FILE (`capetune space list` names built-in ones)")
    fixed: dict[str, Any] = {"--data": data, "--preset": preset, "--config": config, "--name": name, "--split": split}
    fixed |= {"--set": settings or None, "--storage": storage, "--cache-features": cache or None}
    given = [option for option, value in fixed.items() if value is not None]
    if resume is not None and given:
        raise UserError(f"--resume goes on with what the search was begun with; leave out {', '.join(given)}")
    if split is not None:
        settings = [*settings, f"data.split={split}"]
    begun = Asked(space, data or "synthetic", preset or "tiny", config, settings, name, storage, cache, resume, runs)
    search(begun, trials, hours, workers, keep, tracker and tracker.value, address, verbose)


@dataclass(frozen=True)
class Asked:
    """What a search is to be begun with, or the name of the one that is to go on, as the command's options have it."""

    space: str | None
    data: str
    preset: str
    config: Path | None
    settings: list[str]
    name: str | None
    storage: str | None = None
    cache: int = 0
    resume: str | None = None
    runs: Path = Path("runs")


@dataclass
class Begun:
    """A search that is to be run: what it was begun with, or is now."""

    config: Config
    space: Space
    pack: Pack
    folder: Path
    storage: str | None


def search(
    asked: Asked,
    trials: int | None,
    hours: float | None = None,
    workers: int | None = None,
    keep: int | None = None,
    tracker: str | None = None,
    address: str | None = None,
    verbose: bool = False,
) -> str:
    """The command itself; returns the run's name."""
    from functools import partial

    from capetune.cluster.environment import prepare_environment
    from capetune.cluster.session import ray_cluster

    prepare_environment(address, verbose)  # before anything below imports Ray

    console = common.console()
    begun = _begin(asked, console) if asked.resume is None else _go_on(asked, asked.resume, console)
    config, space, pack, folder = begun.config, begun.space, begun.pack, begun.folder

    # Ray and torch take seconds to import: not before what can be refused without them.
    from capetune.models.nets import check_net
    from capetune.reports.live import SearchView
    from capetune.reports.search import results_lines, results_table
    from capetune.runs.record import Run, environment, read_run
    from capetune.runs.results import write_results
    from capetune.storage.hold import held
    from capetune.training.loop import describe_data
    from capetune.tuning.preflight import plan, preflight
    from capetune.tuning.samplers import make_sampler
    from capetune.tuning.search import Search, check_scorable
    from capetune.tuning.study import run_search
    from capetune.tuning.trackers import make_tracker

    check_scorable(pack, config.data.split)
    make_sampler(space.header.sampler, 0)  # says what it needs installed
    facts = describe_data(pack, config.data.split)
    common.say_data(facts, console)
    with held(folder):
        run = read_run(folder) or Run(folder, "search", "running")
        if run.state == "completed" and hours is None and (trials or 0) <= run.facts["trials"]:
            console.print(f"{run.name} is complete: {run.facts['trials']} trials; --trials with more extends it")
            return run.name
        cache = run.facts.get("cache_features", asked.cache)
        tracker = tracker or run.facts.get("tracker")
        keep = keep or run.facts.get("keep", 3)
        workers = workers or run.facts.get("workers_per_trial", 1)
        room = _check_cache(config, space, pack, cache, workers) if cache else 0
        trackers = [make_tracker(tracker, folder)] if tracker else []
        check_net(config.model.backbone)  # missing weights are said here, not by every trial
        budget = _budget(space, trials or run.facts.get("trials"), hours)
        _same_data(run, facts)
        facts |= {"goal": list(space.header.metric), "mode": list(space.header.mode), **_protocol(config)}
        with ray_cluster(address, verbose) as cluster:
            assert budget.trials is not None
            shared = plan(cluster, workers, budget.trials)
            common.say_cluster(cluster, console)
            for line in preflight(config, space, pack, folder, cluster, shared, keep, room):
                console.print(f"✓ {line}", soft_wrap=True, highlight=False, markup=False)
            _write_down(begun)
            record = {"config_hash": config.hash(), "space": run.facts.get("space", str(space.source))}
            record |= {"trials": budget.trials, "keep": keep, "workers_per_trial": workers, "cache_features": cache}
            record |= {"storage": begun.storage, "tracker": tracker, "environment": environment()}
            # Kept at every trial's end, so that an interrupted search has a best configuration too.
            written = partial(write_results, folder, config, facts)
            with common.recorded(run, record | facts, f"capetune search --resume {run.name}", console):
                features = _keep_features(folder / FEATURES, pack, config, cache, console) if cache else None
                what = Search(config, space, pack, folder, budget, keep, begun.storage, features)
                goal, keys = what.goal, list(space.parameters)
                with SearchView(console, budget.trials, config.train.epochs, keys, goal) as view:
                    results = run_search(what, shared, view.hear, written, trackers)
                    written(results)
                    failed = [result for result in results if result.status == "failed"]
                    if results and len(failed) == len(results):
                        raise _all_failed(failed, folder)
        left = max(0, budget.trials - sum(result.status != "stopped" for result in results))
        if left:
            run.save("interrupted")
        elif features is not None:
            shutil.rmtree(features)
    console.print(results_table(results, what.goal))
    lines = [*results_lines(folder, results, facts), f"next: capetune train --best {run.name}"]
    if left:
        trained = sum(result.epochs for result in results)
        more = "a larger budget in --space FILE" if trained >= (budget.epochs or math.inf) else "more --hours"
        lines.append(f"the budget is spent, {left} trials are left: --resume {run.name} with {more} goes on")
    console.print("\n".join(lines), soft_wrap=True, highlight=False, markup=False)
    return run.name


def _begin(asked: Asked, console: Console) -> Begun:
    from datetime import datetime

    from capetune.config import load_config
    from capetune.runs.registry import run_folder
    from capetune.storage.hold import LOCK
    from capetune.tuning.space_file import load_space

    assert asked.space is not None
    config = load_config(asked.preset, asked.config, asked.settings)
    space = load_space(asked.space, config)
    pack = common.open_data(asked.data, console)
    folder = run_folder(asked.runs, asked.name or f"{space.source.stem}-{datetime.now():%Y%m%d-%H%M%S}")
    if folder.is_dir() and any(path.name != LOCK for path in folder.iterdir()):
        raise UserError(f"{folder} exists already; choose another --name, or go on with it: --resume {folder.name}")
    if asked.storage is not None:
        from capetune.tuning.study import check_new

        check_new(asked.storage, folder.name)
    return Begun(config, space, pack, folder, asked.storage)


def _go_on(asked: Asked, name: str, console: Console) -> Begun:
    from capetune.config import load_config
    from capetune.runs.record import CONFIG
    from capetune.runs.registry import find_run
    from capetune.tuning.space_file import load_space

    run = find_run(asked.runs, name, "search")
    files = [run.folder / file for file in (CONFIG, "space.yaml")]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise UserError(f"{missing[0]} is not there: {name} ended before its first trial; begin a new search")
    config = load_config("tiny", files[0])
    space = load_space(files[1], config, begun=True)
    if asked.space is not None:
        wider = load_space(asked.space, config, begun=True)
        wider.check_extends(space)
        space = wider
    return Begun(config, space, common.open_data(str(run.facts["pack"]), console), run.folder, run.facts.get("storage"))


def _check_cache(config: Config, space: Space, pack: Pack, copies: int, workers: int) -> int:
    """The bytes that kept features will take. Raises UserError where the search can't train on them."""
    from capetune.training.features import check_keepable, feature_bytes

    check_keepable(config, space.parameters)
    if workers > 1:
        raise UserError("--cache-features is for trials of one worker each; leave out --workers-per-trial")
    if "generate_ms" in space.header.metric:
        raise UserError(f"{space.source}: generate_ms counts the backbone's time, which kept features leave out")
    return feature_bytes(pack, config, copies)


def _keep_features(folder: Path, pack: Pack, config: Config, copies: int, console: Console) -> Path:
    """Compute them, unless an earlier sitting of the search has."""
    from rich.progress import Progress

    from capetune.training.features import keep_features

    if not folder.is_dir():
        if not console.is_terminal:
            console.print(f"computing features of {copies} copies of each train instance", highlight=False)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("features, once for all trials", total=None)
            keep_features(
                folder, pack, config, copies, lambda done, total: bar.update(task, completed=done, total=total)
            )
    return folder


def _budget(space: Space, trials: int | None, hours: float | None) -> Budget:
    budget = space.header.budget
    return budget.model_copy(
        update={"trials": trials or budget.trials or TRIALS, "hours": budget.hours if hours is None else hours}
    )


def _same_data(run: Any, facts: dict[str, Any]) -> None:
    if run.facts.get("data_hash", facts["data_hash"]) != facts["data_hash"]:
        raise UserError(f"{facts['pack']} isn't what {run.name} was begun with; begin a new search")


def _protocol(config: Config) -> dict[str, Any]:
    """What the scores are scores of."""
    from capetune.evaluation.protocol import in_episodes

    settings = config.validation
    words = f"official pairs of the val part, {in_episodes(settings.episodes, settings.queries)}"
    return {"protocol": words, "shots": settings.shots}


def _write_down(begun: Begun) -> None:
    """What --resume goes on with."""
    from capetune.runs.record import CONFIG
    from capetune.storage.whole import write_aside

    write_aside(begun.folder / CONFIG, begun.config.to_yaml())
    write_aside(begun.folder / "space.yaml", begun.space.text)


def _all_failed(failed: list[TrialResult], folder: Path) -> Exception:
    first = min(failed, key=lambda result: result.number)
    where = f"its traceback is in {folder / str(first.traceback)}"
    message = f"all {len(failed)} trials failed, the first with: {first.error}; {where}"
    return UserError(message) if all(result.bad_input for result in failed) else SearchFailed(message)
