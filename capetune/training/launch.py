"""Ray Train's side of training: the driver."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from capetune.config import Config
from capetune.datasets.pack import Pack
from capetune.datasets.stream import check_readers
from capetune.errors import UserError
from capetune.training.cluster import Cluster

Listener = Callable[[dict[str, Any]], None]


def launch_training(
    config: Config, pack: Pack, folder: Path, cluster: Cluster, workers: int, listener: Listener
) -> None:
    """Train with a TorchTrainer of `workers` workers, one GPU each where the cluster has any.

    folder: of the run; checkpoints land below it, the best and the latest are kept. Called again for a folder where
    a training was interrupted, it goes on from the latest. listener: called on this thread with the events that
    `train_worker` describes. Raises UserError where the cluster or the shards can't feed the workers, or where a
    worker found the input bad.
    """
    from ray.train import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.util.queue import Empty, Queue

    from capetune.training.worker import train_worker

    check_readers(pack, workers, config.data.workers)
    use_gpu = cluster.gpus > 0
    have, what = (cluster.gpus, "GPUs") if use_gpu else (cluster.cpus, "CPUs")
    if workers > have:
        raise UserError(f"{workers} workers need {workers} {what}, the cluster has {have}; use --workers {have}")
    threads = max(1, cluster.cpus // workers)
    events = Queue()
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={
            "config": config.model_dump(),
            "pack": str(pack.path.resolve()),
            "threads": threads,
            "events": events,
        },
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=use_gpu, resources_per_worker=None if use_gpu else {"CPU": threads}
        ),
        run_config=RunConfig(
            name=folder.name,
            storage_path=str(folder.parent.resolve()),
            failure_config=FailureConfig(max_failures=2),
            checkpoint_config=CheckpointConfig(2, checkpoint_score_attribute="mpck4"),
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )
    # Training blocks in a thread of its own, so that Ctrl-C reaches this one and the display stays alive.
    failure: list[BaseException] = []

    def run() -> None:
        try:
            trainer.fit()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True, name="trainer")
    thread.start()
    while True:
        ended = not thread.is_alive()
        try:
            while True:
                listener(events.get(timeout=0.05 if ended else 0.5))
        except (Empty, queue.Empty):
            pass
        if ended:
            break
    events.shutdown()
    if failure:
        raise _cause(failure[0])


def _cause(error: BaseException) -> BaseException:
    """The UserError a worker raised, if that is what stopped the training; else the error itself."""
    for inner in getattr(error, "worker_failures", {}).values():
        while inner is not None:
            if isinstance(inner, UserError):
                return inner
            inner = getattr(inner, "cause", None) or inner.__cause__
    return error
