"""An epoch of training whose checkpoint is sent to S3 (moto's, on loopback) beside the next one, against one whose
checkpoint stays in a folder.

Both write the checkpoint as a training does, then train so many steps; the one that sends waits for the sending at the
end, as the next epoch would. The server is a process of its own; what it takes of two cores is in the figure.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from harness import interleave, options, publish
from paper import random_batch
from stores import names, store

from capetune.config import load_preset
from capetune.models.estimator import PoseEstimator
from capetune.runs.checkpoints import CheckpointMeta
from capetune.runs.copy import Copy, Sender
from capetune.runs.desk import Bench
from capetune.storage.address import open_place
from capetune.storage.lease import take
from capetune.training.checkpoint import save_checkpoint
from capetune.training.optim import make_optimizer, make_schedule
from capetune.training.step import train_step

STEPS, REACH = 300, 1.03  # an epoch of the preset `demo`


def main() -> None:
    arguments = options(__doc__, rounds=5)
    with ExitStack() as ends:
        os.environ |= names(ends.enter_context(store()))
        folders = [Path(ends.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        place = open_place("s3://bucket/runs/it")
        sender = Sender(Copy(place, folders[1]), place, take(place).number)
        work = {"kept in a folder": epochs(Bench(folders[0])), "sent to S3": epochs(Bench(folders[1], sender))}
        seconds = interleave(work, arguments.rounds)
        size = sum(file.stat().st_size for file in folders[1].rglob("epoch-*/*"))
        facts = {"work": f"{STEPS} steps and a checkpoint", "checkpoint_bytes": size, "reach": {"sent to S3": REACH}}
        publish("uploads", seconds, "kept in a folder", facts, arguments.save)


def epochs(bench: Bench) -> Callable[[], object]:
    """A function that keeps a checkpoint, trains, and waits for what is being sent."""
    config = load_preset("demo")
    model = PoseEstimator(config.model).train()
    optimizer = make_optimizer(model, config.train)
    schedule = make_schedule(optimizer, config.train, 10_000)
    batch = random_batch(config.data.size, config.train.batch_size)
    count = 0

    def epoch() -> None:
        nonlocal count
        count += 1
        metrics = {"epoch": count, "mpck4": 0.5}
        meta = CheckpointMeta(config, count, metrics, {})
        training = {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
        save = partial(save_checkpoint, model=model, meta=meta, training=training)
        bench.keep_epoch(metrics, save, lambda row: None, "mpck4", "max")
        for _ in range(STEPS):
            train_step(model, [batch], optimizer, schedule, config)
        if bench.sender is not None:
            bench.sender.wait()

    return epoch


if __name__ == "__main__":
    main()
