"""Checkpoints: a folder with `meta.json` (configuration, metrics, data), `model.safetensors` and `training.pt`.

Evaluation reads the first two, which can't run code. `training.pt` (optimiser, schedule) is for resuming only.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save_file

from capetune import __version__
from capetune.errors import UserError
from capetune.models.estimator import PoseEstimator
from capetune.runs.checkpoints import FORMAT, META, CheckpointMeta, read_meta
from capetune.storage.whole import write_aside

MODEL, TRAINING = "model.safetensors", "training.pt"


def save_checkpoint(folder: Path, model: PoseEstimator, meta: CheckpointMeta, training: dict[str, Any]) -> None:
    """Write the three files over an older checkpoint's; `meta.json` last, so that a folder with one is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / META).unlink(missing_ok=True)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / MODEL)
    torch.save(training, folder / TRAINING)
    tree = {
        "format": FORMAT,
        "schema": 1,
        "capetune": __version__,
        "config_hash": meta.config.hash(),
        "epoch": meta.epoch,
        "metrics": meta.metrics,
        "data": meta.data,
        "config": meta.config.model_dump(mode="json"),
    }
    for file in (MODEL, TRAINING):  # on the disk before it counts as whole
        with (folder / file).open("rb") as stream:
            os.fsync(stream.fileno())
    write_aside(folder / META, json.dumps(tree, indent=2))


def load_model(folder: Path) -> tuple[PoseEstimator, CheckpointMeta]:
    """The trained model, on the CPU, in evaluation mode. Raises UserError where the folder isn't a whole checkpoint."""
    meta = read_meta(folder)
    model = PoseEstimator(meta.config.model, pretrained=False)
    fill(model, folder)
    return model.eval(), meta


def fill(model: PoseEstimator, folder: Path) -> None:
    """Load a checkpoint's weights. Raises UserError where they are missing, damaged or of another model."""
    try:
        model.load_state_dict(load_file(folder / MODEL))
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{folder / MODEL} can't be read ({error}); take another checkpoint") from None
    except RuntimeError:
        raise UserError(f"{folder / MODEL} doesn't fit the configuration beside it; take another checkpoint") from None


def load_training(folder: Path) -> dict[str, Any]:
    """What `save_checkpoint` was given as `training`. Raises UserError where it is missing or damaged."""
    file = folder / TRAINING
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{file} can't be read ({error.strerror or error}); resume from another checkpoint") from None
    except Exception:  # the unpickler fails in any way the file's content likes
        raise UserError(f"{file} is damaged; resume from another checkpoint") from None
