from __future__ import annotations

from collections.abc import Callable

import pytest

from capetune.pose import PoseGraph


@pytest.fixture
def make_graph() -> Callable[[int], PoseGraph]:
    """A chain of so many keypoints."""
    return lambda count: PoseGraph(tuple(f"p{i}" for i in range(count)), tuple((i, i + 1) for i in range(count - 1)))
