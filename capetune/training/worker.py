"""Ray Train's side of training: what runs in each worker."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import ray.train.torch
import torch
import torch.distributed
from ray.train import Checkpoint

from capetune.config import Config
from capetune.datasets.pack import open_pack
from capetune.training.loop import Metrics, Ranks, Save, fit


def train_worker(settings: dict[str, Any]) -> None:
    """The `train_loop_per_worker` of a TorchTrainer.

    settings: config (a dict), pack (its folder), threads (for torch on a CPU), events (a ray queue; rank 0 puts
    {"step", "steps", "epoch"} about twice a second and {"metrics"} after each epoch).
    """
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(settings["threads"])
    config = Config.model_validate(settings["config"])
    events = settings["events"]
    said = 0.0

    def progress(epoch: int, step: int, steps: int) -> None:
        nonlocal said
        if rank == 0 and (time.monotonic() - said > 0.5 or step == steps):
            said = time.monotonic()
            events.put({"epoch": epoch, "step": step, "steps": steps})

    def report(metrics: Metrics, save: Save) -> None:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = None
            if rank == 0:
                save(Path(folder))
                checkpoint = Checkpoint.from_directory(folder)
            ray.train.report(metrics, checkpoint=checkpoint)
        if rank == 0:
            events.put({"metrics": metrics})

    ranks = Ranks(
        rank, world, str(device), lambda model: ray.train.torch.prepare_model(model, move_to_device=False), gather
    )
    start = ray.train.get_checkpoint()
    pack = open_pack(Path(settings["pack"]))
    if start is None:
        fit(config, pack, report, ranks, progress=progress)
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
