"""Ray Train's side of training: the driver."""

from __future__ import annotations

import os
import queue
import secrets
import threading
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any, Literal

from capetune.cluster.machines import Cluster
from capetune.config import Config
from capetune.datasets.packs.reader import Pack, PackAway, PackDamaged, check_readers
from capetune.errors import Diverged, UserError
from capetune.events import (
    Doubted,
    EndedEarly,
    EpochDone,
    Event,
    Listener,
    NodeLost,
    StepsDone,
    StepsTraced,
    WorkersBeganAgain,
    WorkersCounted,
)
from capetune.runs.failures import ERROR, error_line
from capetune.runs.history import finished, read_history
from capetune.runs.record import TRACE
from capetune.storage.address import is_address
from capetune.storage.scratch import address_of, plain_name
from capetune.storage.whole import write_aside

LOSSES = 20  # of machines, that an elastic training goes through before it is given up


class TrainingFailed(Exception):
    """A worker failed on what is not the user's input. The message is one line and names the file with the rest."""


Workers = tuple[int, int]  # the fewest and the most


def check_workers(pack: Pack, cluster: Cluster, config: Config, least: int, most: int) -> None:
    """Raises UserError where the cluster has too few processors for the least, or the pack too few shards for the most
    workers."""
    check_readers(pack, most, config.data.workers)
    have, what = cluster.places(1), "GPUs" if cluster.gpus else "CPUs"
    if least > have:
        grow = f"; --workers {have}:{most} begins with {have} and takes in what comes" if have else ""
        raise UserError(f"{least} workers need {least} {what}, the cluster has {have}{grow}")


def launch_training(
    config: Config,
    pack: Pack,
    folder: Path,
    cluster: Cluster,
    workers: Workers,
    listener: Listener,
    metric: str = "mpck4",
    mode: Literal["max", "min"] = "max",
    start: Path | None = None,
    afresh: bool = False,
    features: Path | None = None,
    run: str | None = None,
    lease: int = 0,
    fetch: Callable[[str], None] = lambda below: None,
    lost_nodes: Callable[[], list[str]] = list,
    profile: bool = False,
    ledger: bool = False,
) -> None:
    """Train with a TorchTrainer of `workers` workers, one GPU each where the cluster has any: as many as there is room
    for, from the fewest to the most. When machines go or come they all begin again, from the latest epoch.

    folder: of the training; the history and the checkpoints land in it, the best by `metric` and the latest are kept.
    Called again for a folder where a training was interrupted, however many workers it had, it goes on from the latest;
    else from the checkpoint `start`, where one is given; afresh: only its weights are taken, and the epochs begin with
    the first. features: a folder of kept ones. Where the folder is a copy of what lies at an address, the workers keep
    it there: run is the address of the run that it is of, None for its own, lease the number of that run's, and fetch
    brings the folder up to date. lost_nodes: names of the machines that were lost since it was last asked. profile:
    trace some steps of the first worker into the folder's TRACE. ledger: note the ids of every step in its LEDGER.
    listener: hears StepsDone and EpochDone, Doubted of what can't be sent, NodeLost, WorkersBeganAgain, StepsTraced and
    EndedEarly, on this thread.

    Raises UserError as `check_workers` does, or where a worker found the input bad; TrainingFailed where a worker
    failed otherwise, three times on end.
    """
    from ray.exceptions import RayActorError
    from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
    from ray.util.queue import Empty, Queue

    from capetune.training.worker import SharedDevices, WorkersNamed, train_worker

    least, most = workers
    check_workers(pack, cluster, config, least, most)
    (folder / ERROR).unlink(missing_ok=True)
    use_gpu = cluster.gpus > 0
    threads = cluster.threads(min(most, max(least, cluster.places(1))))
    if least < most:  # Train's own 60 s, in which nothing trains, are for machines that take long to come
        os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "25")
    # It would wait for a CPU of its own, where trials hold them all, and end with any node that is lost but the head.
    place: dict[str, Any] = {"num_cpus": 0, "resources": {"node:__internal_head__": 0.001}}
    names = (PurePath(run).name, plain_name(folder)) if run else (plain_name(folder), "")
    # The queue of a training that was cut off before may be there still, and no two may have a name.
    title = "/".join(filter(None, names))
    place["name"] = f"{title}/news-{secrets.token_hex(2)}"
    place["enable_task_events"] = False  # twice a second there is no news: a failed task to Ray, and listed as such
    above = Path(run).parent if run and not is_address(run) else folder.parent.resolve()
    events = Queue(actor_options=place | {"scheduling_strategy": "DEFAULT"})  # not among what a trial has reserved
    quiet: dict[str, Any] = {"logging_config": LoggingConfig(log_level="ERROR")}  # unknown to the types of ray.train
    room: dict[str, Any] = {"use_gpu": use_gpu, "resources_per_worker": None if use_gpu else {"CPU": threads}}
    count: Any = most if least == most else workers
    scaling = ScalingConfig(num_workers=count, **room)
    # What TorchTrainer adds to this is a process group that listens on every interface, for one worker too, and torch
    # in the processes that only wait for workers.
    trainer: Any = DataParallelTrainer(
        train_worker,
        backend_config=SharedDevices(),
        train_loop_config={
            "config": config.model_dump(),
            "pack": pack.place.resolved,
            "folder": address_of(folder) or str(folder.resolve()),
            "run": run or address_of(folder) or "",
            "lease": lease,
            "names": names,
            "workers": most,
            "threads": threads,
            "events": events,
            "start": None if start is None else address_of(start) or str(start.resolve()),
            "afresh": afresh,
            "features": None if features is None else str(features.resolve()),
            "keep": (metric, mode),
            "profile": profile,
            "ledger": ledger,
        },
        scaling_config=scaling,
        run_config=RunConfig(
            name=str(folder.resolve().relative_to(above)),  # Ray's dashboard lists it so
            storage_path=str(above),
            callbacks=[WorkersNamed(title)],  # type: ignore[list-item]
            failure_config=FailureConfig(max_failures=2 if least == most else LOSSES),
            **quiet,
        ),
    )
    _spare(trainer, cluster)
    # Training blocks in a thread of its own, so that Ctrl-C reaches this one and the display stays alive.
    failure: list[BaseException] = []

    def train() -> None:
        try:
            trainer.fit()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=train, daemon=True, name="trainer")
    thread.start()
    heard, lost, course = 0.0, False, _Course(folder.name)
    while True:
        ended = not thread.is_alive()
        for node in lost_nodes():
            listener(NodeLost(node))
        try:
            while not lost:
                event = events.get(timeout=0.05 if ended else 0.5)
                if "error" in event:  # bad input stays bad: Ray would start the workers twice more
                    kinds = {kind.__name__: kind for kind in (PackDamaged, PackAway, Diverged)}
                    raise kinds.get(event["kind"], UserError)(event["error"])
                if "doubt" in event:
                    listener(Doubted(event["doubt"]))
                heard = event.get("metrics", {}).get("epoch", heard)
                if (again := course.hear(event)) is not None:
                    listener(again)
                if event.keys() != {"doubt"} and ("batch" not in event or least < most):
                    listener(_typed(event, folder))
        except (Empty, queue.Empty):
            pass
        except RayActorError:
            lost = True
        if lost:  # the process that carried the events is gone: the history tells of epochs still
            thread.join(0 if ended else 0.5)
            fetch("")
            for row in read_history(folder):
                if row["epoch"] > heard:
                    heard = row["epoch"]
                    listener(_typed({"metrics": row}, folder))
        if ended:
            break
    if not lost:
        events.shutdown()
    fetch("")
    if failure:
        raise TrainingFailed(_keep(failure[0], folder)) from failure[0]


class _Course:
    """How far a training is, across the beginnings of its workers."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.made = 0  # steps, of all epochs
        self.fresh = False  # the workers have begun and no step of theirs was heard of

    def hear(self, event: dict[str, Any]) -> WorkersBeganAgain | None:
        """event: of a worker's. Returns what it means, where it is of the first step after a new beginning."""
        if "batch" in event:
            self.fresh = True
        if "step" not in event:
            return None
        before, steps = self.made, event["steps"]
        self.made = (event["epoch"] - 1) * steps + event["step"]
        again, self.fresh = self.fresh and before > 0, False
        on = self.made - 1
        return WorkersBeganAgain(self.run, on // steps, on % steps, max(0, before - on)) if again else None


def _typed(event: dict[str, Any], folder: Path) -> Event:
    run = folder.name
    if "stale" in event:
        return EndedEarly(run, finished(read_history(folder)), event["stale"])
    if "traced" in event:
        return StepsTraced(run, str(folder / TRACE), *event["traced"])
    if "metrics" in event:
        return EpochDone(run, int(event["metrics"]["epoch"]), event["metrics"])
    if "batch" in event:
        return WorkersCounted(run, event["workers"], event["batch"], event["asked"])
    return StepsDone(run, event["epoch"], event["step"], event["steps"])


def _spare(trainer: Any, cluster: Cluster) -> None:
    """Leave out the processes that Train starts for nothing here, 4 s of a core each: one that deals out Ray's data
    sets, and in a session of our own one that tidies up behind a controller, since the session ends with it, and one
    that asks the autoscaler, unless the workers are so many as there is room for.

    In such a session start those that Train would start one after another, before it starts a worker, beside it."""
    from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import (
        get_or_create_autoscaling_coordinator,
    )
    from ray.train.v2._internal.callbacks import DatasetsCallback
    from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
    from ray.train.v2._internal.state.state_actor import get_or_create_state_actor

    from capetune.training.worker import FixedHere

    if cluster.token:
        get_or_create_state_actor()
        if trainer.scaling_config.elasticity_enabled:
            get_or_create_autoscaling_coordinator()
        else:
            run, fixed = trainer._initialize_and_run_controller, FixedHere(trainer.scaling_config)
            trainer._initialize_and_run_controller = lambda **given: run(**{**given, "scaling_policy": fixed})
    spared = (DatasetsCallback, PlacementGroupCleanerCallback) if cluster.token else (DatasetsCallback,)
    callbacks = trainer._create_default_callbacks
    trainer._create_default_callbacks = lambda: [each for each in callbacks() if not isinstance(each, spared)]


def _keep(error: BaseException, folder: Path) -> str:
    """Write the workers' tracebacks into the run's folder. Returns one line: the last of them, and where they are."""
    failures = getattr(error, "worker_failures", None) or {0: error}
    file = folder / ERROR
    write_aside(file, "\n".join(f"worker {rank}:\n{inner}" for rank, inner in failures.items()) + "\n")
    return f"a training worker failed: {error_line(str(next(iter(failures.values()))))}; its traceback is in {file}"
