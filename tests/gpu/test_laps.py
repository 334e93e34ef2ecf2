"""On a GPU: where a step's time goes, by the GPU's own clock."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from capetune.config import Config
from capetune.datasets.packs.reader import open_pack
from capetune.training.laps import DeviceLaps, laps_on
from capetune.training.loop import Metrics, fit
from capetune.training.ranks import Ranks

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
PARTS = ("forward", "backward", "optimiser")
SETTINGS = {
    "model.width": 32,
    "model.heads": 4,
    "model.vocabulary": 16,
    "model.decoder.layers": 1,
    "model.support.layers": 1,
    "model.backbone.name": "efficientnet_lite0",
    "model.backbone.weights": "none",
    "data.size": 64,
    "train.epochs": 1,
    "train.steps": 8,
    "train.batch_size": 4,
    "validation.episodes": 1,
}


def test_work_belongs_to_the_mark_behind_it_and_nothing_waits_before_it_is_read() -> None:
    laps = laps_on("cuda")
    assert isinstance(laps, DeviceLaps)
    square = torch.randn(8192, 8192, device="cuda")
    laps.mark("before")
    for _ in range(20):
        square = (square @ square).clamp(-1, 1)
    laps.mark("products")
    done = torch.cuda.Event()
    done.record()
    queued = not done.query()
    seconds = laps.read()
    assert queued
    assert set(seconds) == {"before", "products"}
    assert seconds["products"] > 0


@pytest.mark.parametrize("execution", ["eager", "captured"])
def test_a_captured_step_is_told_as_a_whole(tiny_pack: Path, execution: str) -> None:
    config = Config().with_overrides({**SETTINGS, "model.execution": execution})
    rows: list[Metrics] = []
    fit(config, open_pack(tiny_pack), lambda metrics, save: rows.append(metrics), Ranks(device="cuda"))
    told = {part for part in PARTS if f"seconds_{part}" in rows[0]}
    assert told == (set(PARTS) if execution == "eager" else set())
    assert rows[0]["seconds_steps"] > 0
    assert rows[0]["seconds_data"] >= 0
    assert rows[0]["seconds_copy"] >= 0
