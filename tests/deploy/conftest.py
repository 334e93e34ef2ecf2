"""What the machines of a cluster share: a pack, a space and a configuration, all tiny."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

SPACE = {"scheduler": "none", "loss.tokens": {"log": [0.1, 1.0]}}
CONFIG = {
    "model": {
        "width": 32,
        "heads": 4,
        "decoder": {"layers": 1},
        "support": {"layers": 1},
        "backbone": {"name": "efficientnet_lite0", "weights": "none"},
    },
    "data": {"size": 64},
    "train": {"steps": 2, "epochs": 2, "batch_size": 4, "warmup": 0},
    "validation": {"episodes": 1},
}


def with_epochs(epochs: int) -> str:
    return yaml.safe_dump(CONFIG | {"train": CONFIG["train"] | {"epochs": epochs}})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, tiny_pack: Path) -> Path:
    """The folder that the machines see as SHARED: pack/, space.yaml, config.yaml of two epochs."""
    folder = tmp_path_factory.mktemp("shared")
    shutil.copytree(tiny_pack, folder / "pack")
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE))
    (folder / "config.yaml").write_text(with_epochs(2))
    return folder
