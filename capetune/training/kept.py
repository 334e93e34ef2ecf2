"""The checkpoints a folder holds: what each says of itself, which is best, which are kept. None of their weights.

Nothing here imports torch: `capetune runs` must answer at once.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from capetune.config import Config, parse_config
from capetune.errors import UserError
from capetune.evaluation.pck import THRESHOLDS

META = "meta.json"
FORMAT = "capetune-checkpoint"
# Of an epoch's metrics those that a search may be after.
METRICS = ("mpck4", "mpck5", *(f"pck_{t:g}" for t in THRESHOLDS), "val_loss", "val_coordinates", "generate_ms")


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
