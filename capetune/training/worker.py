"""Ray Train's side of training: what runs in each worker."""

from __future__ import annotations

import shutil
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import ray.train.torch
import torch
import torch.distributed
from ray.train import Checkpoint, CheckpointUploadMode

from capetune.config import Config
from capetune.datasets.pack import open_pack
from capetune.errors import UserError
from capetune.training.loop import Metrics, Ranks, Save, fit
from capetune.training.runs import add_to_history
from capetune.training.tensorboard import scalars


def train_worker(settings: dict[str, Any]) -> None:
    """The `train_loop_per_worker` of a TorchTrainer.

    settings: config (a dict), pack and folder (of the data and of the run), threads (for torch on a CPU), start (a
    checkpoint's folder to go on from, or None), events (a ray queue; rank 0 puts {"epoch", "step", "steps"} about twice
    a second and {"metrics"} after each epoch, any rank {"error"} where it finds the input bad: one line). Rank 0 keeps
    the history: an epoch is there before it counts as done, so that no epoch's metrics are lost however the run ends.
    """
    try:
        _train(settings)
    except UserError as error:
        settings["events"].put({"error": str(error)})
        raise


def _train(settings: dict[str, Any]) -> None:
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(settings["threads"])
    config = Config.model_validate(settings["config"])
    events = settings["events"]
    said, begun = 0.0, time.monotonic()

    def progress(epoch: int, steps: int, step: int) -> None:
        nonlocal said
        if rank == 0 and (time.monotonic() - said > 0.5 or step == steps):
            said = time.monotonic()
            events.put({"epoch": epoch, "step": step, "steps": steps})

    def report(metrics: Metrics, save: Save) -> None:
        nonlocal begun
        metrics["seconds"] = time.monotonic() - begun
        checkpoint = None
        if rank == 0:
            folder = Path(settings["folder"]) / f"epoch-{metrics['epoch']:04.0f}"
            shutil.rmtree(folder, ignore_errors=True)  # of a try that was cut off before Ray heard of it
            save(folder)
            add_to_history(folder.parent, metrics)
            write(metrics)
            checkpoint = Checkpoint.from_directory(folder)
        # Written in its final place: Ray's own copying could be cut off with meta.json there and the weights not.
        ray.train.report(metrics, checkpoint=checkpoint, checkpoint_upload_mode=CheckpointUploadMode.NO_UPLOAD)
        begun = time.monotonic()
        if rank == 0:
            events.put({"metrics": metrics})

    ranks = Ranks(
        rank, world, str(device), lambda model: ray.train.torch.prepare_model(model, move_to_device=False), gather
    )
    start = ray.train.get_checkpoint()
    pack = open_pack(Path(settings["pack"]))
    with scalars(Path(settings["folder"])) if rank == 0 else nullcontext(lambda metrics: None) as write:
        if start is None:
            first = None if settings["start"] is None else Path(settings["start"])
            fit(config, pack, report, ranks, first, progress)
        else:
            with start.as_directory() as folder:
                fit(config, pack, report, ranks, Path(folder), progress)


def gather(array: np.ndarray) -> list[np.ndarray]:
    """Every rank's array, in the order of ranks."""
    world = ray.train.get_context().get_world_size()
    if world == 1:
        return [array]
    arrays: list[Any] = [None] * world
    torch.distributed.all_gather_object(arrays, array)
    return arrays
