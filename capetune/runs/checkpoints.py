"""The checkpoints a folder holds: what each says of itself, which is best, which are kept. None of their weights.

Nothing here imports torch: `capetune runs` must answer at once.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from capetune.config import Config, parse_config
from capetune.errors import UserError
from capetune.runs.document import Odd, read_tree
from capetune.runs.history import add_to_history, read_history

META = "meta.json"
FORMAT = "capetune-checkpoint"
UNDER_WAY = "under-way"  # folder of the epoch that was under way when a machine was about to go


@dataclass(frozen=True)
class CheckpointMeta:
    """epoch: finished epochs. metrics: those of its validation. data: where it was trained, as `describe_data` says;
    `before`: where the weights that it began with were, earliest first, each as `trained_before` has it."""

    config: Config
    epoch: int
    metrics: dict[str, float]
    data: dict[str, Any]

    @property
    def score(self) -> float:
        """Validation mPCK4, what checkpoints are ranked by; -1 where there is none."""
        return self.metrics.get("mpck4", -1.0)

    @property
    def calibrated(self) -> bool:
        """Whether its scores are chances, as `evaluation.calibration` has found them."""
        return "score_slope" in self.metrics and "score_offset" in self.metrics


def read_meta(folder: Path) -> CheckpointMeta:
    """Raises UserError where the folder isn't one of our checkpoints."""
    wrong = f"{folder} is not a capetune checkpoint"
    try:
        tree = read_tree(folder / META)
    except OSError:
        raise UserError(f"{wrong} (no {META}); `capetune train` and `capetune search` write them below runs/") from None
    except Odd as odd:
        raise UserError(f"{wrong} ({META} {odd}); take another checkpoint") from None
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        raise UserError(f"{wrong} ({META} has no format {FORMAT!r})")
    if tree.get("schema") != 1:
        raise UserError(f"{folder} has checkpoint schema {tree.get('schema')!r}, not 1: update capetune")
    try:
        config, epoch, metrics, data = tree["config"], int(tree["epoch"]), dict(tree["metrics"]), dict(tree["data"])
        if not all(isinstance(value, int | float) for value in metrics.values()):
            raise TypeError
        for each in data.get("before", []):
            _ = (each["pack"] + each["data_hash"], int(each["split"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise UserError(f"{wrong} ({META} lacks a part, or has an odd one); take another checkpoint") from None
    return CheckpointMeta(parse_config(config, str(folder / META)), epoch, metrics, data)


def trained_before(meta: CheckpointMeta, checkpoint: str) -> list[dict[str, Any]]:
    """What a training that begins with a checkpoint's weights carries on of where those come from, earliest first:
    pack, data_hash, data, split, train_instances, checkpoint, epoch and config_hash of each training."""
    names = ("pack", "data_hash", "data", "split", "train_instances")
    told = {name: meta.data[name] for name in names if name in meta.data}
    said = {"checkpoint": checkpoint, "epoch": meta.epoch, "config_hash": meta.config.hash()}
    return [*meta.data.get("before", []), told | said]


def checkpoint_folder(folder: Path, epoch: int) -> Path:
    """Where a training in `folder` keeps the checkpoint of that epoch."""
    return folder / f"epoch-{epoch:04d}"


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


def keep_epoch(
    folder: Path,
    metrics: dict[str, float],
    save: Callable[[Path], None],
    write: Callable[[dict[str, float]], None],
    metric: str,
    mode: Literal["max", "min"],
) -> Path:
    """Keep a finished epoch in a training's folder: its checkpoint, by `save`, then its metrics in the history and, by
    `write`, elsewhere. What is there of it or of later epochs, of a try that was left, is removed, and so are all
    checkpoints but the best by `metric` and this one. Returns its checkpoint.

    metrics: gets seconds_checkpoint, what `save` took; the checkpoint itself can't know.
    """
    path = checkpoint_folder(folder, int(metrics["epoch"]))
    for other in folder.glob("epoch-*"):
        if other.name >= path.name:
            shutil.rmtree(other)
    begun = time.monotonic()
    save(path)
    metrics["seconds_checkpoint"] = time.monotonic() - begun
    add_to_history(folder, metrics)
    shutil.rmtree(folder / UNDER_WAY, ignore_errors=True)
    write(metrics)
    keep_checkpoints(folder, metric, mode)
    return path


def resume_point(folder: Path, mend: bool = True) -> Path | None:
    """The checkpoint that a training goes on from, the latest that is whole, None where there is none. mend: put its
    metrics into the history where the training was killed before it did so."""
    latest = latest_checkpoint(folder)
    if latest is None:
        return None
    path, meta = latest
    if mend:
        history = read_history(folder)
        if not history or history[-1]["epoch"] < meta.epoch:
            add_to_history(folder, meta.metrics)
    return path
