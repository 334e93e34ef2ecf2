"""Parts made in memory, with no files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from capetune.datasets.mp100.catalogue import MP100
from capetune.pose import Category, Instance, Part, PoseGraph

Make = Callable[..., Part]


@pytest.fixture
def make_part() -> Make:
    """make_part({category id: number of instances}) gives random poses of 4 keypoints, some invisible."""

    def make(counts: dict[int, int], split: int = 1, part: str = "test", share: float = 0.8, **more: bool) -> Part:
        random = np.random.default_rng(7)
        graph = PoseGraph(("a", "b", "c", "d"), ((0, 1),))
        categories = tuple(Category(id, f"category {id}", f"folder_{id}", graph) for id in counts)
        groups = {}
        for id, count in counts.items():
            groups[id] = tuple(
                Instance(
                    id=id * 10**14 + n,
                    image_id=n,
                    category_id=id,
                    file_name=f"folder_{id}/{n}.jpg",
                    image_size=(640, 480),
                    box=np.array([*random.uniform(0, 200, 2), *random.uniform(20, 200, 2)]),
                    xy=random.uniform(0, 300, (4, 2)),
                    visible=random.random(4) < share,
                )
                for n in range(count)
            )
        return Part(split, part, categories, groups, **more)

    return make


@pytest.fixture
def make_mp100(make_part: Make) -> Make:
    """make_mp100("test"): a part with 16 instances of the first category of MP-100."""

    def make(part: str) -> Part:
        made = make_part({1: 16}, part=part)
        return replace(made, categories=tuple(replace(c, name=MP100[c.id].name) for c in made.categories))

    return make
