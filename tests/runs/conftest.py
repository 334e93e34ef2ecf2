"""A run's folder, as a search or a training leaves it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from capetune.config import load_preset
from capetune.runs.checkpoints import CheckpointMeta, checkpoint_folder
from capetune.runs.record import Run
from capetune.training.checkpoint import save_checkpoint


@pytest.fixture
def make() -> Callable[..., Run]:
    """make(folder, …): one."""

    def make(folder: Path, kind="search", state="completed", started="2026-01-01", best=True):
        Run(folder, kind, state).save(state, started=started)
        if best:
            (folder / "best.yaml").write_text("seed: 1\n")

    return make


@pytest.fixture
def checkpoint() -> Callable[[Path, int], None]:
    """checkpoint(folder, epoch): a whole one in a training's folder, of a model that is a single number."""

    class Weights:
        def state_dict(self) -> dict[str, torch.Tensor]:
            return {"weight": torch.zeros(2)}

    def make(folder: Path, epoch: int) -> None:
        meta = CheckpointMeta(load_preset("demo"), epoch, {"mpck4": 0.1 * epoch}, {})
        save_checkpoint(checkpoint_folder(folder, epoch), Weights(), meta, {})  # type: ignore[arg-type]

    return make
