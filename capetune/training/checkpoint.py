"""Checkpoints: a folder with `meta.json` (configuration, metrics, data), `model.safetensors` and `training.pt`.

Evaluation reads the first two, which can't run code. `training.pt` (optimiser, schedule) is for resuming only. Of both
files `meta.json` has size and sha256 under `files`, checked when they are loaded: 0.08 s for 100 MB each time (an AMD
EPYC, 2026-11-27). Older checkpoints have none, and load unchecked.
"""

from __future__ import annotations

import hashlib
import json
import os
from io import BufferedReader
from pathlib import Path
from typing import Any, NotRequired

import safetensors
import torch
from pydantic import TypeAdapter
from safetensors.torch import load, load_file, save_file
from typing_extensions import TypedDict

from capetune import __version__
from capetune.config import ModelConfig
from capetune.errors import UserError
from capetune.models.backbone import Backbone
from capetune.models.estimator import PoseEstimator
from capetune.runs.checkpoints import FORMAT, META, UNDER_WAY, CheckpointMeta, read_meta
from capetune.runs.document import Odd, read_checked
from capetune.storage.whole import write_aside

MODEL, TRAINING = "model.safetensors", "training.pt"
WHERE = "where.json"


class _Mark(TypedDict):
    size: int
    sha256: str


class _Marks(TypedDict, total=False):
    """Of meta.json, what says how the other files were saved."""

    files: dict[str, _Mark]


class Shape(TypedDict):
    """What the samples of an epoch's steps depend on. steps: of the epoch. world: ranks, each with so many loaders.
    batch, turns: samples a batch and batches a step, of each rank."""

    steps: int
    world: int
    loaders: int
    batch: int
    turns: int


class Drawing(Shape):
    """And how an epoch's batches are drawn. order: the number by which they are. begun: steps that were done before the
    first of them."""

    order: int
    begun: int


class _Where(_Marks):
    """Of where.json, how far an epoch has come."""

    epoch: int
    step: int
    drawing: NotRequired[Drawing]  # older ones say none


_MARKS, _WHERE = TypeAdapter(_Marks), TypeAdapter(_Where)


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
        "files": {name: _mark(folder / name) for name in (MODEL, TRAINING)},
        "config": meta.config.model_dump(mode="json"),
    }
    write_aside(folder / META, json.dumps(tree, indent=2))


def _mark(file: Path) -> _Mark:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())  # on the disk before it counts as whole
        return {"size": os.fstat(stream.fileno()).st_size, "sha256": _sha256(stream)}


def save_under_way(folder: Path, epoch: int, step: int, drawing: Drawing, state: dict[str, Any]) -> None:
    """Keep, in a training's folder, from what its epoch goes on after that step. What was kept before stays until this
    is whole: `where.json` names the file that counts."""
    place, name = folder / UNDER_WAY, f"training-{step:06d}.pt"
    place.mkdir(exist_ok=True)
    torch.save(state, place / name)
    where: _Where = {"epoch": epoch, "step": step, "drawing": drawing, "files": {name: _mark(place / name)}}
    write_aside(place / WHERE, json.dumps(where))
    for other in place.glob("*.pt"):
        if other.name != name:
            other.unlink(missing_ok=True)


def load_under_way(folder: Path, epoch: int) -> tuple[int, Drawing | None, dict[str, Any]]:
    """The step after which that epoch was kept, how its batches were drawn, where that is known, and what was kept;
    step 0 where it wasn't, or isn't whole any more."""
    place = folder / UNDER_WAY
    try:
        where = read_checked(place / WHERE, _WHERE)
        if where["epoch"] != epoch:
            return 0, None, {}
        [name] = where.get("files", [TRAINING])
        return where["step"], where.get("drawing"), load_training(place, WHERE, Path(name).name)
    except (OSError, Odd, UserError, ValueError):
        return 0, None, {}


def load_model(folder: Path) -> tuple[PoseEstimator, CheckpointMeta]:
    """The trained model, on the CPU, in evaluation mode, its scores calibrated by what its last validation found; those
    of older checkpoints, which don't say that, are as its tokens have them. Raises UserError where the folder isn't a
    whole checkpoint."""
    meta = read_meta(folder)
    model = _unfilled(meta)
    fill(model, folder)
    return model.eval(), meta


def read_weights(folder: Path) -> bytes:
    """Those of a whole checkpoint, for `model_of`, as they travel to other machines. Raises UserError as `fill`."""
    _check(folder, MODEL, "take another checkpoint")
    try:
        return (folder / MODEL).read_bytes()
    except OSError as error:
        raise UserError(f"{folder / MODEL} can't be read ({error}); take another checkpoint") from None


def model_of(meta: CheckpointMeta, weights: bytes) -> PoseEstimator:
    """The model that `load_model` gives, of what `read_weights` has read."""
    model = _unfilled(meta)
    model.load_state_dict(load(weights))
    return model.eval()


def _unfilled(meta: CheckpointMeta) -> PoseEstimator:
    model = PoseEstimator(meta.config.model, pretrained=False)
    if meta.calibrated:
        model.calibration = meta.metrics["score_slope"], meta.metrics["score_offset"]
    return model


def fill(model: PoseEstimator, folder: Path) -> None:
    """Load a checkpoint's weights. Raises UserError where they are missing, damaged or of another model."""
    _check(folder, MODEL, "take another checkpoint")
    try:
        model.load_state_dict(load_file(folder / MODEL))
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{folder / MODEL} can't be read ({error}); take another checkpoint") from None
    except RuntimeError:
        raise UserError(f"{folder / MODEL} doesn't fit the configuration beside it; take another checkpoint") from None


def has_pretrained_backbone(folder: Path, config: ModelConfig) -> bool:
    """Whether a checkpoint's backbone is still as it was pretrained. Raises UserError as `fill` does, and where those
    weights can't be had."""
    model = PoseEstimator(config, pretrained=False)
    fill(model, folder)
    kept = model.backbone.net.state_dict()
    return all(torch.equal(value, kept[name]) for name, value in Backbone(config).net.state_dict().items())


def weights_hash(folder: Path) -> str:
    """Twelve hexadecimal digits of a whole checkpoint's weights: the beginning of their file's sha256."""
    with (folder / MODEL).open("rb") as stream:
        return _sha256(stream)[:12]


def load_training(folder: Path, document: str = META, name: str = TRAINING) -> dict[str, Any]:
    """What `save_checkpoint` was given as `training`. Raises UserError where it is missing or damaged. document: the
    file beside it that says how it was saved, under that name."""
    file = folder / name
    _check(folder, name, "resume from another checkpoint", document)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{file} can't be read ({error.strerror or error}); resume from another checkpoint") from None
    except Exception:  # the unpickler fails in any way the file's content likes
        raise UserError(f"{file} is damaged; resume from another checkpoint") from None


def _check(folder: Path, name: str, cure: str, document: str = META) -> None:
    """Raises UserError where a file of a checkpoint isn't what was saved, as far as that was written down."""
    file = folder / name
    try:
        mark = read_checked(folder / document, _MARKS).get("files", {}).get(name)
        if mark is None:
            return
        with file.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            why = f"it has {size} bytes of {mark['size']}" if size != mark["size"] else None
            why = why or (None if _sha256(stream) == mark["sha256"] else "it isn't what was saved (sha256)")
    except Odd as odd:
        raise UserError(f"{folder / document} {odd}; {cure}") from None
    except OSError as error:
        raise UserError(f"{file} can't be read ({error.strerror or error}); {cure}") from None
    if why is not None:
        raise UserError(f"{file} is damaged: {why}; {cure}")


def _sha256(stream: BufferedReader) -> str:
    return hashlib.file_digest(stream, "sha256").hexdigest()
