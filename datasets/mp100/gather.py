"""All parts of an annotations folder as one: each instance once, whichever parts name it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from capetune.datasets.mp100.files import Key, Reading, read_folder
from capetune.errors import UserError
from capetune.pose import Category, Instance


@dataclass(frozen=True, eq=False)
class Gathered:
    """readings: by (split, part). categories and instances: by id, in the order the files name them first."""

    readings: Mapping[Key, Reading]
    categories: dict[int, Category]
    instances: dict[int, Instance]

    @property
    def synthetic(self) -> bool:
        """True where any file says so: a pack with synthetic images in it is never taken for a real one."""
        return any(reading.part.synthetic for reading in self.readings.values())


def gather(annotations: Path) -> Gathered:
    """Read every annotation file of a folder.

    The same annotation id stands in many of the files. Raises UserError where two of them mean different things by it,
    or disagree about a category's keypoints: mixed releases can't be told apart later.
    """
    readings = read_folder(annotations)
    categories: dict[int, tuple[Category, Path]] = {}
    instances: dict[int, tuple[Instance, Path]] = {}
    for reading in readings.values():
        for category in reading.part.categories:
            first, path = categories.setdefault(category.id, (category, reading.path))
            categories[category.id] = (_agreed(first, category, path, reading.path), path)
            for instance in reading.part.instances[category.id]:
                same, path = instances.setdefault(instance.id, (instance, reading.path))
                if not _equal(same, instance):
                    raise UserError(
                        f"annotation {instance.id} differs between {path.name} and {reading.path.name}: "
                        "take all annotation files from one release"
                    )
    return Gathered(
        readings,
        {id: category for id, (category, _) in categories.items()},
        {id: instance for id, (instance, _) in instances.items()},
    )


def _agreed(first: Category, second: Category, path: Path, other: Path) -> Category:
    """One category out of two that may know unlike much: newer releases have skeletons, empty lists hide K."""
    if not first.graph.size or not second.graph.size:
        return first if first.graph.size else second
    if first.graph.size != second.graph.size or first.name != second.name:
        raise UserError(
            f"category {first.id} is {first.name!r} with {first.graph.size} keypoints in {path.name} and "
            f"{second.name!r} with {second.graph.size} in {other.name}: take all annotation files from one release"
        )
    return second if second.graph.edges and not first.graph.edges else first


def _equal(a: Instance, b: Instance) -> bool:
    return a is b or (
        (a.category_id, a.file_name, a.image_size) == (b.category_id, b.file_name, b.image_size)
        and np.array_equal(a.box, b.box)
        and np.array_equal(a.visible, b.visible)
        and np.array_equal(a.xy, b.xy)
    )
