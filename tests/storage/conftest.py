from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from capetune.storage.address import open_place
from capetune.storage.place import Place

Make = Callable[[], Place]


@pytest.fixture(params=["folder", "memory", "s3", "gs"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """make(): another handle on one place that is empty at first. memory: within this process only."""
    name = uuid4().hex
    if request.param in ("s3", "gs"):
        bucket = request.getfixturevalue("bucket" if request.param == "s3" else "google")
        address = f"{bucket}/{name}/deep"
    else:
        address = f"memory://{name}/deep" if request.param == "memory" else str(tmp_path / "place")
    return lambda: open_place(address)


@pytest.fixture
def place(make: Make) -> Place:
    return make()
