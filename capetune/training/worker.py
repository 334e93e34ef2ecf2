"""Ray Train's side of training: what runs in each worker."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import ray.train.torch
import torch
import torch.distributed

from capetune.config import Config
from capetune.datasets.packs.reader import open_pack
from capetune.errors import UserError
from capetune.runs.checkpoints import keep_epoch, resume_point
from capetune.training.features import open_features
from capetune.training.loop import Metrics, Ranks, Save, fit
from capetune.training.tensorboard import scalars


def train_worker(settings: dict[str, Any]) -> None:
    """The `train_loop_per_worker` of a TorchTrainer.

    settings: config (a dict), pack and folder (of the data and of the run), threads (for torch on a CPU), start (a
    checkpoint's folder to begin with, or None), features (a folder of kept ones, or None), keep (the metric and mode by
    which the best checkpoint is kept), events (a ray queue; rank 0 puts {"epoch", "step", "steps"} about twice a second
    and {"metrics"} after each epoch, any rank {"error"} where it finds the input bad: one line). Rank 0 keeps
    checkpoints and history in the folder: from there a training goes on, however it was ended.
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
    events, folder = settings["events"], Path(settings["folder"])
    said, begun = 0.0, time.monotonic()

    def progress(epoch: int, steps: int, step: int) -> None:
        nonlocal said
        if rank == 0 and (time.monotonic() - said > 0.5 or step == steps):
            said = time.monotonic()
            events.put({"epoch": epoch, "step": step, "steps": steps})

    def report(metrics: Metrics, save: Save) -> None:
        nonlocal begun
        metrics["seconds"] = time.monotonic() - begun
        if rank == 0:
            keep_epoch(folder, metrics, save, write, *settings["keep"])
        ray.train.report(metrics)  # without the checkpoint: whoever goes on finds it in the folder
        begun = time.monotonic()
        if rank == 0:
            events.put({"metrics": metrics})

    ranks = Ranks(
        rank, world, str(device), lambda model: ray.train.torch.prepare_model(model, move_to_device=False), gather
    )
    # Of this training, where Ray has started its workers anew or an earlier run was interrupted.
    start = resume_point(folder, mend=rank == 0)
    if start is None and settings["start"] is not None:
        start = Path(settings["start"])
    pack = open_pack(Path(settings["pack"]))
    features = None if settings["features"] is None else open_features(Path(settings["features"]))
    with scalars(folder) if rank == 0 else nullcontext(lambda metrics: None) as write:
        fit(config, pack, report, ranks, start, progress, features)


def gather(array: np.ndarray) -> list[np.ndarray]:
    """Every rank's array, in the order of ranks."""
    world = ray.train.get_context().get_world_size()
    if world == 1:
        return [array]
    arrays: list[Any] = [None] * world
    torch.distributed.all_gather_object(arrays, array)
    return arrays
