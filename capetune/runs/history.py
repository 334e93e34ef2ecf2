"""The metrics of every finished epoch of a training, in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from capetune.config import TrainConfig
from capetune.errors import UserError
from capetune.storage.whole import write_aside

HISTORY = "history.jsonl"


def add_to_history(folder: Path, metrics: dict[str, float]) -> None:
    """Keep an epoch's metrics as a line of `history.jsonl`, in place of an earlier try of it or of later epochs."""
    rows = [row for row in read_history(folder) if row["epoch"] < metrics["epoch"]]
    folder.mkdir(parents=True, exist_ok=True)
    write_aside(folder / HISTORY, "".join(json.dumps(row) + "\n" for row in [*rows, metrics]))


def finished(history: Sequence[Mapping[str, float]]) -> int:
    """How many epochs are."""
    return int(history[-1]["epoch"]) if history else 0


def at_end(history: Sequence[Mapping[str, float]], settings: TrainConfig) -> bool:
    """Whether a training has trained its last epoch, or got no better for as many as its patience lasts."""
    stale = history[-1].get("stale", 0) if history else 0
    return finished(history) >= settings.epochs or (settings.patience is not None and stale >= settings.patience)


def read_history(folder: Path) -> list[dict[str, float]]:
    """The metrics of every finished epoch, in order; none where there is no history. Raises UserError where it is
    damaged: it is written whole, so somebody else has been at it."""
    file = folder / HISTORY
    if not file.is_file():
        return []
    rows = []
    for number, line in enumerate(file.read_text(errors="replace").splitlines(), start=1):
        try:
            row = json.loads(line)
            int(row["epoch"])
            if not all(isinstance(value, int | float) for value in row.values()):
                raise TypeError
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            raise UserError(f"{file}, line {number} is no epoch of a training; put it right or remove it") from None
        rows.append(row)
    return rows
