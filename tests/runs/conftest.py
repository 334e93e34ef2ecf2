"""A run's folder, as a search or a training leaves it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from capetune.runs.record import Run


@pytest.fixture
def make() -> Callable[..., Run]:
    """make(folder, …): one."""

    def make(folder: Path, kind="search", state="completed", started="2026-01-01", best=True):
        Run(folder, kind, state).save(state, started=started)
        if best:
            (folder / "best.yaml").write_text("seed: 1\n")

    return make
