"""People's own annotations as split 1 of a data set: by categories where there are enough, else by pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from capetune.datasets.mp100.exports import Exports, read_exports
from capetune.datasets.mp100.files import Key, Reading
from capetune.datasets.mp100.findings import counted
from capetune.datasets.mp100.gather import Gathered
from capetune.datasets.mp100.parts import by_categories, by_pictures, enough_categories, in_several_parts, picture
from capetune.datasets.mp100.pictures import locate, pictures
from capetune.errors import UserError
from capetune.pose import PARTS, Instance, Part

By = Literal["categories", "pictures"]


@dataclass(frozen=True)
class Division:
    """How it was split. categories: how many have instances in each part, by part. validated: how many instances each
    category of the val part has, of pictures that are there."""

    by: By
    categories: dict[str, int]
    validated: tuple[int, ...]


def divide(files: Sequence[Path], images: Path, by: By | None = None) -> tuple[Gathered, Division]:
    """Read COCO files (`exports.read_exports`) and split what they hold; by: None = as `parts` finds best.

    Only pictures that are there count; instances of others stay, with the training part, for `pack` to name. Raises
    UserError where a file or the images folder can't be read, or a part would be empty.
    """
    read = read_exports(files)
    there = {found.name for found, _ in locate(pictures(read.instances), Path(images)).found}
    usable = [instance for instance in read.instances if not there or instance.file_name in there]
    counts = Counter(instance.category_id for instance in usable)
    chosen = by or ("categories" if enough_categories(counts) else "pictures")
    part_of = _by_categories(counts) if chosen == "categories" else _by_pictures(usable)
    categories = {part: len({i.category_id for i in usable if part_of(i) == part}) for part in PARTS}
    if usable and not all(categories.values()):
        shown = counted(len({picture(instance.file_name) for instance in usable}), "picture")
        raise UserError(
            f"{shown} of {counted(len(counts), 'category', 'categories')} can't be split into what trains, validates "
            "and tests; label more: 20 are a start"
        )
    validated = Counter(instance.category_id for instance in usable if part_of(instance) == "val")
    return _gathered(read, files[0], part_of), Division(chosen, categories, tuple(validated.values()))


PartOf = Callable[[Instance], str]


def _by_categories(counts: Counter[int]) -> PartOf:
    parts = by_categories(counts, "--by pictures")
    return lambda instance: parts.get(instance.category_id, "train")


def _by_pictures(instances: Sequence[Instance]) -> PartOf:
    names: dict[int, set[str]] = {}
    for instance in instances:
        names.setdefault(instance.category_id, set()).add(picture(instance.file_name))
    parts = by_pictures(names)
    return lambda instance: parts.get(picture(instance.file_name), "train")


def _gathered(read: Exports, path: Path, part_of: PartOf) -> Gathered:
    """What `gather` would make of the three files of that split. What was dropped is counted with the training part."""
    readings: dict[Key, Reading] = {}
    for part in PARTS:
        mine = [instance for instance in read.instances if part_of(instance) == part]
        groups = {id: tuple(i for i in mine if i.category_id == id) for id in read.categories}
        groups = {id: group for id, group in groups.items() if group}
        made = Part(1, part, tuple(read.categories[id] for id in groups), groups, read.synthetic, own=True)
        readings[1, part] = Reading(path, made, read.dropped if part == "train" else (), (), (), {})
    doubts = (*read.doubts, *in_several_parts(read.instances, part_of))
    instances = {instance.id: instance for instance in read.instances}
    return Gathered(readings, read.categories, instances, read.dropped, doubts, (), read.notes, exported=True)
