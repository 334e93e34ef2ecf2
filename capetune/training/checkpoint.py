"""Checkpoints: a folder with `meta.json` (configuration, metrics, data), `model.safetensors` and `training.pt`.

Evaluation reads the first two, which can't run code. `training.pt` (optimiser, schedule) is for resuming only.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors
import torch
from safetensors.torch import load_file, save_file

from capetune import __version__
from capetune.config import Config, parse_config
from capetune.datasets.whole import write_aside
from capetune.errors import UserError
from capetune.models.estimator import PoseEstimator

META, MODEL, TRAINING = "meta.json", "model.safetensors", "training.pt"
FORMAT = "capetune-checkpoint"


@dataclass(frozen=True)
class CheckpointMeta:
    """epoch: finished epochs. metrics: those of its validation. data: where it was trained, as `describe_data` says."""

    config: Config
    epoch: int
    metrics: dict[str, float]
    data: dict[str, Any]

    @property
    def score(self) -> float:
        """Validation mPCK4, what checkpoints are ranked by; -1 where there is none."""
        return self.metrics.get("mpck4", -1.0)


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


def read_meta(folder: Path) -> CheckpointMeta:
    """Raises UserError where the folder isn't one of our checkpoints."""
    wrong = f"{folder} is not a capetune checkpoint"
    try:
        tree = json.loads((folder / META).read_text())
    except OSError:
        raise UserError(f"{wrong} (no {META}); `capetune train` and `capetune search` write them below runs/") from None
    except ValueError:
        raise UserError(f"{wrong} ({META} is not JSON)") from None
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        raise UserError(f"{wrong} ({META} has no format {FORMAT!r})")
    if tree.get("schema") != 1:
        raise UserError(f"{folder} has checkpoint schema {tree.get('schema')!r}, not 1: update capetune")
    try:
        config, epoch, metrics, data = tree["config"], int(tree["epoch"]), dict(tree["metrics"]), dict(tree["data"])
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{wrong} ({META} lacks a part); take another checkpoint") from None
    return CheckpointMeta(parse_config(config, str(folder / META)), epoch, metrics, data)


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


def find_checkpoints(folder: Path) -> Iterator[tuple[Path, CheckpointMeta]]:
    """Every whole checkpoint below a run's folder."""
    for file in sorted(folder.glob(f"**/{META}")):
        yield file.parent, read_meta(file.parent)


def best_checkpoint(folder: Path) -> tuple[Path, CheckpointMeta] | None:
    """The checkpoint below `folder` with the highest validation mPCK4, None where there is none."""
    return max(find_checkpoints(folder), key=lambda found: found[1].score, default=None)


def latest_checkpoint(folder: Path) -> tuple[Path, CheckpointMeta] | None:
    """The checkpoint below `folder` of the latest epoch, None where there is none."""
    return max(find_checkpoints(folder), key=lambda found: found[1].epoch, default=None)


def keep_checkpoints(
    folder: Path, metric: str = "mpck4", mode: Literal["max", "min"] = "max", also_latest: bool = True
) -> Path | None:
    """Remove the checkpoints below `folder` but the best, the first of equals, and the latest where that is wanted.
    Returns the best."""
    found = list(find_checkpoints(folder))
    sign = 1 if mode == "max" else -1
    best = max(found, key=lambda each: sign * each[1].metrics[metric], default=None)
    last = max(found, key=lambda each: each[1].epoch, default=None) if also_latest else None
    for each in found:
        if each not in (best, last):
            shutil.rmtree(each[0], ignore_errors=True)
    return None if best is None else best[0]
