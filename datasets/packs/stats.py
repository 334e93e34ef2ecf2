"""What a pack holds, in numbers: instances, boxes, visibility, near-duplicates, by category."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from capetune.datasets.mp100.quirks import pose_quirks
from capetune.datasets.packs.alike import Progress, Twins, find_twins
from capetune.datasets.packs.reader import Pack
from capetune.pose import Category

NAMED = 20  # pairs of near-duplicates of a category that are named


@dataclass(frozen=True, eq=False)
class CategoryStats:
    """One category. pictures: how many. sides: float (n,), longer box sides in source pixels. visible: float (n,),
    share of each instance's keypoints. seen: by keypoint, share of the instances that show it. odd: by name, how many
    instances. twins: near-duplicates."""

    category: Category
    pictures: int
    sides: np.ndarray
    visible: np.ndarray
    seen: Mapping[str, float]
    odd: Mapping[str, int]
    twins: Twins

    @property
    def instances(self) -> int:
        return len(self.sides)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "id": self.category.id,
            "name": self.category.name,
            "instances": self.instances,
            "pictures": self.pictures,
            "keypoints": self.category.graph.size,
            "edges": len(self.category.graph.edges),
            "box_side": dict(zip(("min", "median", "max"), spread(self.sides), strict=True)),
            "visible": float(self.visible.mean()),
            "seen": dict(self.seen),
            "odd": dict(self.odd),
            "near_duplicates": {
                "pairs": len(self.twins.pairs),
                "instances_in_one_part": len(self.twins.episode),
                "held_out_with_one_in_training": len(self.twins.leaked),
                "most_alike": [list(pair) for pair in self.twins.pairs[:NAMED]],
            },
        }


@dataclass(frozen=True, eq=False)
class PackStats:
    """A whole pack. categories: those with instances, by id."""

    pack: str
    synthetic: bool
    instances: int
    pictures: int
    categories: tuple[CategoryStats, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "pack": self.pack,
            "data": "synthetic" if self.synthetic else "real",
            "instances": self.instances,
            "pictures": self.pictures,
            "categories": [category.to_json() for category in self.categories],
        }


def pack_stats(pack: Pack, progress: Progress = lambda done, total: None) -> PackStats:
    """Every crop is read once. Raises PackDamaged where one can't be had."""
    twins = find_twins(pack, progress)
    return PackStats(
        pack.address,
        pack.synthetic,
        len(pack.instances),
        len({instance.file_name for instance in pack.instances}),
        tuple(_of(pack, id, twins[id]) for id in twins),
    )


def _of(pack: Pack, id: int, twins: Twins) -> CategoryStats:
    category = pack.categories[id]
    instances = pack.by_category[id]
    visible = np.array([instance.visible for instance in instances])
    names = [f"{k}" if name == str(k) else f"{k} {name}" for k, name in enumerate(category.graph.names)]
    return CategoryStats(
        category,
        len({instance.file_name for instance in instances}),
        np.array([instance.side for instance in instances]),
        visible.mean(axis=1),
        dict(zip(names, visible.mean(axis=0).tolist(), strict=True)),
        Counter(quirk for instance in instances for quirk in pose_quirks(instance)),
        twins,
    )


def spread(values: np.ndarray) -> tuple[float, float, float]:
    """Smallest, median, largest."""
    return float(values.min()), float(np.median(values)), float(values.max())
