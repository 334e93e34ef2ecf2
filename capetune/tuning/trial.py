"""One trial of a search: a folder with its configuration, history, checkpoints and result, and what fills it.

The folder is the truth: whatever is killed, a trial goes on from what it holds.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import torch
from ray import tune
from ray.tune import Checkpoint

from capetune.cluster.gauges import metered
from capetune.cluster.machines import Cluster
from capetune.config import Config
from capetune.datasets.packs.reader import Pack, PackDamaged, open_pack
from capetune.errors import Diverged, UserError
from capetune.events import Doubted, EpochDone, Event
from capetune.models.compiled import make_room
from capetune.runs.checkpoints import resume_point
from capetune.runs.desk import Bench, at_bench, late
from capetune.runs.failures import ERROR
from capetune.runs.history import at_end, read_history
from capetune.runs.record import CONFIG
from capetune.runs.results import VALUES, repeat_folder, trial_name
from capetune.storage.address import is_address
from capetune.storage.hold import held
from capetune.storage.scratch import plain_name
from capetune.storage.whole import write_aside
from capetune.training.features import Features, open_features
from capetune.training.launch import TrainingFailed, launch_training
from capetune.training.loop import Metrics, Save, fit
from capetune.training.pace import Pace
from capetune.training.patience import Patience
from capetune.training.ranks import Ranks
from capetune.training.share import step_size
from capetune.training.tensorboard import scalars
from capetune.training.under_way import UnderWay
from capetune.tuning.goal import Goal
from capetune.tuning.limits import GB
from capetune.tuning.preflight import Plan


@dataclass(frozen=True)
class Work:
    """What the trials of a run have in common, wherever they run.

    config: the base. pack: its address. run: its folder, that every machine sees, or its address. features: a folder of
    kept ones, that every machine sees. portable: whether the scheduler carries checkpoints from trial to trial. lease:
    the number of that under which the run is worked on. ends: epochs after which the scheduler may end a trial, None:
    after any. repeats: how many seeds each is trained with.
    """

    config: Config
    pack: str
    run: str
    goal: Goal
    plan: Plan
    features: Path | None = None
    portable: bool = False
    lease: int = 0
    ends: frozenset[int] | None = None
    repeats: int = 1

    def may_end(self, epoch: int) -> bool:
        """Whether a trial may end after that epoch. Tune ends its process then, whatever that is sending still."""
        return self.ends is None or epoch in self.ends

    def part(self, name: str) -> str:
        """Where a part of the run lies."""
        return f"{self.run}/{name}"


class DiskFull(Exception):
    """No trial's fault: the search ends, to go on when there is room."""


class Away(Exception):
    """The store of the run doesn't answer, another process works on the run, or the pack is damaged: no trial's fault
    either. The message is one line."""


def no_room(error: Exception, folder: Path) -> bool:
    """Whether an error comes of a full disk: not every library says so."""
    said = ("No space left", "Disk quota exceeded")
    return any(words in str(error) for words in said) or shutil.disk_usage(folder).free < 1 << 20


def run_trial(trial: dict[str, Any], work: Work) -> None:
    """The trainable. trial: number and overrides.

    An error ends it with a file ERROR in its folder; only the loss of its process is Tune's to notice and to retry, and
    DiskFull and Away, which are raised.
    """
    # Seconds that the next trial in this process waits for the thread of one that was pruned; after 2, Tune would call
    # the next one failed.
    os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", "120")
    with at_part(work, trial_name(trial["number"])) as bench:
        fill_folder(bench, trial, work)


@contextmanager
def at_part(work: Work, name: str) -> Iterator[Bench]:
    """Where a trial works, alone: a process of a search that was killed may still be there for a moment. Raises Away
    where what it made can't be sent."""
    where = work.part(name)
    try:
        with ExitStack() as ends:
            if not is_address(where):
                ends.enter_context(held(Path(where)))
            yield ends.enter_context(at_bench(where, work.run, work.lease))
    except UserError as error:  # of the store: a trial's own are in its folder
        raise Away(str(error)) from None


def fill_folder(bench: Bench, trial: dict[str, Any], work: Work) -> None:
    """Train a trial in its folder to its end, from where it is; see `run_trial`."""
    folder = bench.folder
    (folder / ERROR).unlink(missing_ok=True)
    try:
        config = work.config.with_overrides(trial["overrides"])
        write_aside(folder / CONFIG, f"# {config.hash()}\n{config.to_yaml()}")
        write_aside(folder / VALUES, json.dumps({**trial, "config_hash": config.hash()}, indent=2) + "\n")
        bench.send()  # by its values it goes on, wherever it is begun again
        (_train if work.plan.workers == 1 else _launch)(config, bench, work)
    except TrainingFailed:
        pass  # it has written the workers' tracebacks there
    except PackDamaged as error:
        raise Away(str(error)) from None
    except Exception as error:
        if no_room(error, folder):
            raise DiskFull(str(folder)) from None
        if isinstance(error, UserError):  # whichever kind: that is what a trial's end is told by
            kind = Diverged if isinstance(error, Diverged) else UserError
            error = kind(str(error)).with_traceback(error.__traceback__)
        write_aside(folder / ERROR, "".join(traceback.format_exception(error)))


def _train(config: Config, bench: Bench, work: Work) -> None:
    plan = work.plan
    torch.set_num_threads(plan.threads)
    make_room()
    if plan.device == "cuda":
        gc.collect()  # what the trial before in this process left
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.set_per_process_memory_fraction(plan.fence)  # it fails by itself, not its neighbours
    pack = _pack(work)
    features = open_features(work.features) if work.features else None
    doubts: list[str] = []
    common = (work, pack, features, doubts)
    epochs = config.train.epochs
    if work.repeats == 1:
        _fit(config, bench, *common, tell=epochs)
        return
    # Tune ends a trial with its last epoch, so of that it hears when all seeds are through; of one that patience ended
    # it has heard.
    for number in range(work.repeats):
        part = replace(bench, folder=repeat_folder(bench.folder, number)) if number else bench
        if not at_end(read_history(part.folder), config.train):
            part.folder.mkdir(exist_ok=True)
            if number and (start := resume_point(part.folder)) is not None:
                bench.bring(start)
            seeded = config.with_overrides({"seed": config.seed + number})
            _fit(seeded, part, *common, tell=0 if number else epochs - 1)
        if number:
            for path in part.folder.glob("epoch-*"):
                shutil.rmtree(path)
    if trouble := bench.sent():
        doubts.append(late(trouble))
    last = read_history(bench.folder)[-1]
    if last["epoch"] == epochs or doubts:
        tune.report(told(last, "; ".join(doubts) or None))


def _fit(
    config: Config, bench: Bench, work: Work, pack: Pack, features: Features | None, doubts: list[str], tell: int
) -> None:
    """Train with one seed. doubts: gets what is to be said with the next epoch of which Tune hears. tell: the last one
    of which it does."""
    plan = work.plan
    begun = time.monotonic()

    def report(metrics: Metrics, save: Save) -> None:
        nonlocal begun
        metrics["seconds"] = time.monotonic() - begun
        meter.epoch(metrics)
        if plan.device == "cuda":
            metrics["gpu_memory_gb"] = torch.cuda.max_memory_reserved() / GB
        path, trouble = bench.keep_epoch(metrics, save, write, work.goal.metric, work.goal.modes[0])
        if metrics["epoch"] > tell:
            begun = time.monotonic()
            return
        if work.may_end(int(metrics["epoch"])):
            trouble = bench.sent() or trouble
        said = [*doubts, *([] if trouble is None else [late(trouble)])]
        doubts.clear()
        tune.report(
            told(metrics, "; ".join(said) or None),
            checkpoint=Checkpoint.from_directory(path) if work.portable else None,
        )
        begun = time.monotonic()

    def keep(save: Callable[[Path], None], epoch: int, step: int, leaving: bool) -> None:
        trouble = bench.keep_under_way(save)
        if trouble is not None:
            doubts.append(late(trouble))

    metering = metered(PurePath(work.run).name, plain_name(bench.folder), 0, step_size(config, 1), work.plan.device)
    with tempfile.TemporaryDirectory() as aside, scalars(bench.folder) as write, metering as meter:
        start = _start(bench.folder, Path(aside))
        ranks = Ranks(device=plan.device, cpus=plan.threads)
        # A scheduler's checkpoint may be another trial's, of the same epoch.
        due = Pace(config.train.save_minutes, ranks).due
        own = UnderWay() if work.portable or not tell else UnderWay(bench.folder, due, keep=keep)
        patience = Patience(config.train.patience, work.goal.metric, work.goal.modes[0])
        fit(config, pack, report, ranks, start, meter.step, features, own, doubts.append, patience=patience)


def _pack(work: Work) -> Pack:
    """The driver has opened it before: what is wrong with it now has happened since."""
    try:
        return open_pack(work.pack)
    except UserError as error:
        raise PackDamaged(str(error)) from None


def told(metrics: Metrics, trouble: str | None) -> dict[str, Any]:
    """What Tune hears of an epoch: its metrics, which schedulers read, and all of them in `row` for us. trouble: a line
    that is to be said."""
    return {**metrics, "row": json.dumps(metrics), "trouble": trouble}


def _launch(config: Config, bench: Bench, work: Work) -> None:
    """Train by a TorchTrainer of several workers. When Tune ends this process, Ray ends what belongs to it."""
    plan = work.plan
    share = Cluster("", None, ((plan.threads, int(plan.device == "cuda")),) * plan.workers)

    trouble: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Doubted):
            trouble.append(event.why)
        if isinstance(event, EpochDone):
            tune.report(told(dict(event.metrics), "; ".join(trouble) or None))
            trouble.clear()

    launch_training(
        config,
        _pack(work),
        bench.folder,
        share,
        (plan.workers, plan.workers),
        listen,
        metric=work.goal.metric,
        mode=work.goal.modes[0],
        run=work.run,
        lease=work.lease,
    )


def _start(folder: Path, aside: Path) -> Path | None:
    """The checkpoint to go on from: what the scheduler hands over, else the trial's own latest."""
    given = tune.get_checkpoint()
    if given is not None:
        return Path(given.to_directory(str(aside)))
    return resume_point(folder)
