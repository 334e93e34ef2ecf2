"""`capetune train`: train one configuration with Ray Train."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from capetune.cli import common
from capetune.errors import UserError

if TYPE_CHECKING:
    from capetune.config import Config
    from capetune.runs.record import Run


def command(
    search: str | None = typer.Argument(None, help="With --best: the search to take it from; default: the latest."),
    best: bool = typer.Option(False, "--best", help="Train the best configuration of a search."),
    rank: int = common.Rank,
    from_checkpoint: bool = typer.Option(
        False, "--from-checkpoint", help="With --best: go on from the trial's best epoch, not from scratch."
    ),
    data: str | None = typer.Option(
        None, "--data", metavar="PACK", help="A pack, or `synthetic`. Default: the search's data, else synthetic."
    ),
    split: int | None = common.Split,
    preset: str | None = common.MaybePreset,
    config: Path | None = common.ConfigFile,
    settings: list[str] = common.Settings,
    workers: int = typer.Option(
        1, "--workers", min=1, help="Training workers (DDP), one GPU each where there are any."
    ),
    name: str | None = common.Name,
    runs: Path = common.Runs,
    address: str | None = common.Address,
    verbose: bool = common.Verbose,
) -> None:
    """Train a configuration to its end; the best and the last checkpoint are kept.

    Interrupted, the same command goes on from the last finished epoch.

    Examples:

      capetune train --preset demo

      capetune train --best --set train.epochs=300 --workers 8 --data shards/

      capetune train --best decoder-20261123-081500 --rank 2 --from-checkpoint --set train.epochs=50
    """
    if not best and (rank != 1 or from_checkpoint):
        raise UserError("--rank and --from-checkpoint say which trial of a search to train: give --best too")
    if search is not None and not best:
        raise UserError(f"what is {search!r}? A search's name wants --best before it: capetune train --best {search}")
    train(
        search, best, data, split, preset, config, settings, workers, name, runs, address, verbose,
        rank=rank, from_checkpoint=from_checkpoint,
    )  # fmt: skip


def train(
    search: str | None,
    best: bool,
    data: str | None,
    split: int | None,
    preset: str | None,
    config_file: Path | None,
    settings: list[str],
    workers: int,
    name: str | None,
    runs: Path,
    address: str | None,
    verbose: bool,
    *,
    rank: int = 1,
    from_checkpoint: bool = False,
) -> Path:
    """The command itself; returns the best checkpoint."""
    from capetune.cluster.environment import prepare_environment
    from capetune.cluster.session import ray_cluster

    prepare_environment(address, verbose)  # before anything below imports Ray

    from capetune.config import load_config
    from capetune.runs.best import ranked_checkpoint, ranked_config, ranked_trial
    from capetune.runs.history import HISTORY, read_history
    from capetune.runs.record import Run, read_run
    from capetune.runs.registry import find_search, run_folder
    from capetune.storage.hold import held

    console = common.console()
    for option, value in {"--preset": preset, "--config": config_file}.items():
        if best and value is not None:
            raise UserError(f"--best and {option} both say what to train: give one, and change keys of it with --set")
    stem, start = preset or "tiny", None
    if split is not None:
        settings = [*settings, f"data.split={split}"]
    if best:
        found = find_search(runs, search)
        stem = found.name
        data = data or str(found.facts["pack"])
        config = ranked_config(found, rank, settings)
        start = ranked_checkpoint(found, rank) if from_checkpoint else None
        if start is not None:
            _check_start(start, config)
        note = "" if found.state == "completed" else f" ({found.state}: the best of the trials that ended)"
        which = f"trial {ranked_trial(found, rank)['number']} of search {found.name}{note}"
        where = f"from scratch; {found.folder / 'best.yaml'}" if start is None else f"from {start}"
        console.print(f"{which}, {where}", soft_wrap=True, highlight=False)
    else:
        config = load_config(stem, config_file, settings)
    pack = common.open_data(data or "synthetic", console)

    # Ray and torch take seconds to import: not before what can be refused without them.
    from capetune.datasets.episodes.stream import check_readers
    from capetune.models.nets import check_net
    from capetune.reports.live import TrainView
    from capetune.training.launch import check_workers, launch_training
    from capetune.training.loop import describe_data

    facts = describe_data(pack, config.data.split)
    check_readers(pack, workers, config.data.workers)
    check_net(config.model.backbone)  # missing weights are said here, not by every worker
    folder = run_folder(runs, name or f"{stem}-{config.hash()[:6]}")
    run = read_run(folder) or Run(folder, "train", "running")
    _same(run, config.hash(), facts)
    if run.state == "completed":
        console.print(f"run {run.name} is complete already; --name starts another")
    else:
        common.say_data(facts, console)
        history = read_history(folder)
        if history:
            console.print(f"going on after epoch {history[-1]['epoch']:.0f}", highlight=False)
        with ray_cluster(address, verbose) as cluster:
            check_workers(pack, cluster, config, workers)
            common.say_cluster(cluster, console)
            record = facts | {"config_hash": config.hash(), "config": config.model_dump(mode="json")}
            with (
                held(folder),
                common.recorded(run, record, "run the same command again", console),
                TrainView(console, config.train.epochs, history) as view,
            ):
                launch_training(config, pack, folder, cluster, workers, view.hear, start=start)
    path, meta = run.best() or (None, None)
    if path is None or meta is None:
        raise UserError(f"run {run.name} has no checkpoint: it ended before its first epoch; run it again")
    console.print(
        f"best: epoch {meta.epoch}, val mPCK4 {meta.metrics['mpck4']:.3f} "
        f"(template on the same pairs {meta.metrics['template_mpck4']:.3f})\n"
        f"every epoch: {folder}/{HISTORY}\ncheckpoint: {path}",
        soft_wrap=True,
        highlight=False,
    )
    return path


def _check_start(start: Path, config: Config) -> None:
    """Another split's test categories may be among those that the checkpoint was trained on."""
    from capetune.runs.checkpoints import read_meta

    meta, split = read_meta(start), config.data.split
    if meta.config.data.split != split:
        raise UserError(
            f"{start} was trained on split {meta.config.data.split}, and has seen categories that split {split} tests; "
            "leave --from-checkpoint out"
        )
    if meta.epoch >= config.train.epochs:
        raise UserError(f"{start} is of epoch {meta.epoch} already; give more with --set train.epochs=…")


def _same(run: Run, config_hash: str, facts: dict[str, Any]) -> None:
    """A run goes on only with the configuration and the data it was begun with."""
    if run.kind != "train":
        raise UserError(f"{run.folder} was made by `capetune {run.kind}`; choose another --name")
    facts = {"config_hash": config_hash, **facts}
    if any(run.facts.get(key, facts[key]) != facts[key] for key in ("config_hash", "data_hash")):
        raise UserError(f"{run.folder} holds a run of another configuration or other data; choose another --name")
