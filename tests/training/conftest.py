"""A tiny training, and what it left."""

from __future__ import annotations

from pathlib import Path

import pytest

from capetune.config import Config
from capetune.datasets.packs.reader import Pack, open_pack
from capetune.training.loop import Metrics, Save, fit

TIMES = ("generate_ms", "seconds_data", "seconds_copy", "seconds_forward", "seconds_backward", "seconds_optimiser")
TIMES += ("seconds_steps", "seconds_validation")
KEYS = {
    "model.sequence": "point",
    "model.width": 32,
    "model.heads": 4,
    "model.vocabulary": 16,
    "model.support.layers": 1,
    "model.decoder.layers": 1,
    "model.backbone.name": "efficientnet_lite0",
    "model.backbone.weights": "none",
    "model.backbone.stride": 16,
    "data.size": 64,
    "train.epochs": 2,
    "train.steps": 3,
    "train.batch_size": 4,
    "train.learning_rate": 1e-3,
    "train.warmup": 2,
    "train.schedule": "cosine",
    "train.input_noise": 0.02,
    "validation.episodes": 1,
    "validation.queries": 3,
}


@pytest.fixture(scope="module")
def config() -> Config:
    """Dropout and input noise are on and the backbone is trained: all that could differ between two runs."""
    return Config().with_overrides(KEYS)


@pytest.fixture(scope="module")
def pack(tiny_pack: Path) -> Pack:
    return open_pack(tiny_pack)


def untimed(rows: list[Metrics]) -> list[Metrics]:
    """Without what depends on the machine."""
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


class Run:
    """A training, with what it reported and its checkpoints."""

    def __init__(self, config: Config, pack: Pack, folder: Path, resume: Path | None = None) -> None:
        self.metrics: list[Metrics] = []
        self.progress: list[tuple[int, int, int]] = []
        self.folder = folder

        def report(metrics: Metrics, save: Save) -> None:
            self.metrics.append(dict(metrics))
            save(folder / f"{metrics['epoch']:.0f}")

        fit(config, pack, report, resume=resume, progress=lambda *numbers: self.progress.append(numbers))


@pytest.fixture(scope="module")
def run(config: Config, pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(config, pack, tmp_path_factory.mktemp("run"))
