"""All parts of an annotations folder as one: each instance once, whichever parts name it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from capetune.datasets.mp100.files import Key, Reading, read_folder, unread
from capetune.datasets.mp100.findings import Finding, together
from capetune.errors import UserError
from capetune.pose import Category, Instance

CURE = "number them anew, or take all annotation files from one release"


@dataclass(frozen=True, eq=False)
class Gathered:
    """readings: by (split, part). categories and instances: by id, in the order the files name them first.

    dropped, doubts: those of the files together, what stands in several of them counted once. contradictions: one line
    with its cure for each thing that two files say unlike each other; instances and categories are then those of the
    first. notes: lines of what else is to be said, such as json files beside that aren't read. exported: they are an
    annotation tool's, not MP-100's.
    """

    readings: Mapping[Key, Reading]
    categories: dict[int, Category]
    instances: dict[int, Instance]
    dropped: tuple[Finding, ...]
    doubts: tuple[Finding, ...]
    contradictions: tuple[str, ...]
    notes: tuple[str, ...]
    exported: bool = False

    @property
    def quirks(self) -> tuple[Finding, ...]:
        """Those of the files together; there are many, and only `check` asks for them."""
        return together(reading.quirks for reading in self.readings.values())

    @property
    def synthetic(self) -> bool:
        """True where any file says so: a pack with synthetic images in it is never taken for a real one."""
        return any(reading.part.synthetic for reading in self.readings.values())

    @property
    def own(self) -> Literal["labels", "split"] | None:
        """What of it is people's own, as `packs.manifest.Manifest` has it."""
        if self.exported:
            return "labels"
        return "split" if any(reading.part.own for reading in self.readings.values()) else None


def gather(annotations: Path) -> Gathered:
    """Read every annotation file of a folder.

    The same annotation id stands in many of the files. Raises UserError where two of them mean different things by it,
    or by an image id, or disagree about a category's keypoints: what belongs together can't be told later.
    """
    gathered = survey(annotations)
    if gathered.contradictions:
        raise UserError(gathered.contradictions[0])
    return gathered


def survey(annotations: Path) -> Gathered:
    """The same, where contradictions are to be told, not refused."""
    readings = read_folder(annotations)
    categories = Agreement()
    instances: dict[int, tuple[Instance, Path]] = {}
    pictures: dict[int, tuple[str, Path]] = {}
    unlike: dict[tuple[str, str, str], list[int]] = {}  # what, in which two files, which ids
    for reading in readings.values():
        for category in reading.part.categories:
            categories.hear(category, reading.path)
            for instance in reading.part.instances[category.id]:
                same, path = instances.setdefault(instance.id, (instance, reading.path))
                if not _equal(same, instance):
                    unlike.setdefault(("annotation", path.name, reading.path.name), []).append(instance.id)
                file, path = pictures.setdefault(instance.image_id, (instance.file_name, reading.path))
                if file != instance.file_name:
                    unlike.setdefault(("image", path.name, reading.path.name), []).append(instance.image_id)
    chosen = {id: instance for id, (instance, _) in instances.items()}
    read = readings.values()
    return Gathered(
        readings,
        {id: category for id, (category, _) in categories.chosen.items()},
        chosen,
        together(reading.dropped for reading in read),
        (*together(reading.doubts for reading in read), *categories.doubts, *pictures_twice(chosen)),
        (*categories.contradictions.values(), *(_contradiction(*what, ids) for what, ids in unlike.items())),
        tuple(unread(annotations)),
    )


class Agreement:
    """One category out of several that may know unlike much: newer releases have skeletons, empty lists hide K."""

    def __init__(self) -> None:
        self.chosen: dict[int, tuple[Category, Path]] = {}
        self.contradictions: dict[int, str] = {}  # by category, the first of each
        self.doubts: dict[Finding, None] = {}

    def hear(self, category: Category, path: Path) -> None:
        first, other = self.chosen.setdefault(category.id, (category, path))
        if first == category:
            return
        graphs = first.graph, category.graph
        if why := _contradicts(first, category, other.name, path.name):
            self.contradictions.setdefault(category.id, why)
        elif all(graph.size for graph in graphs):
            files = f"{other.name} and {path.name}"
            if graphs[0].names != graphs[1].names and not any(_numbered(graph.names) for graph in graphs):
                self.doubts[Finding(category.id, "keypoint names differ between files", detail=files)] = None
            if graphs[0].edges != graphs[1].edges and all(graph.edges for graph in graphs):
                self.doubts[Finding(category.id, "skeleton differs between files", detail=files)] = None
            if graphs[1].edges and not graphs[0].edges:
                self.chosen[category.id] = category, other
        elif not first.graph.size:
            self.chosen[category.id] = category, other


def _contradicts(first: Category, second: Category, one: str, other: str) -> str:
    """What the files `one` and `other` say of one category that can't both be true, and its cure; "" if nothing."""
    graphs = first.graph, second.graph
    if not all(graph.size for graph in graphs):
        return ""
    if first.name != second.name or graphs[0].size != graphs[1].size:
        return (
            f"category {first.id} is {first.name!r} with {graphs[0].size} keypoints in {one} and {second.name!r} with "
            f"{graphs[1].size} in {other}: ids must differ between files that mean different categories; {CURE}"
        )
    names = [[name.casefold().replace("_", " ") for name in graph.names] for graph in graphs]
    places = [{name: i for i, name in enumerate(group, 1) if group.count(name) == 1} for group in names]
    moved = [name for name, place in places[0].items() if places[1].get(name, place) != place]
    if not moved or (set(names[0]) != set(names[1]) and any(_numbered(graph.names) for graph in graphs)):
        return ""
    numbers = " and ".join(
        f"number {place[moved[0]]} in {file}" for place, file in zip(places, (one, other), strict=True)
    )
    return (
        f"keypoint {moved[0]!r} of category {first.id}, {first.name!r}, is {numbers}: bring names and coordinates into "
        "one order, or take all annotation files from one release"
    )


def _numbered(names: tuple[str, ...]) -> bool:
    """Whether they stand for a count only."""
    return names == tuple(str(i) for i in range(len(names)))


def _contradiction(what: str, first: str, second: str, ids: list[int]) -> str:
    others = len(set(ids)) - 1
    more = f", as do {others} more" if others else ""
    meaning = {"annotation": "annotations", "image": "pictures"}[what]
    cure = f"ids must differ between files that mean different {meaning}; {CURE}"
    return f"{what} {ids[0]} differs between {first} and {second}{more}: {cure}"


def pictures_twice(instances: Mapping[int, Instance]) -> Iterator[Finding]:
    """Instances on a picture that has several image ids: support and query of an episode can be one picture."""
    ids: dict[PurePosixPath, dict[int, None]] = {}
    for instance in instances.values():
        ids.setdefault(PurePosixPath(instance.file_name), {})[instance.image_id] = None
    for instance in instances.values():
        if len(found := ids[PurePosixPath(instance.file_name)]) > 1:
            detail = "images " + " and ".join(str(id) for id in found)
            file = instance.file_name
            yield Finding(instance.category_id, "picture under several image ids", instance.id, file, detail)


def _equal(a: Instance, b: Instance) -> bool:
    return a is b or (
        (a.category_id, a.file_name, a.image_size) == (b.category_id, b.file_name, b.image_size)
        and np.array_equal(a.box, b.box)
        and np.array_equal(a.visible, b.visible)
        and np.array_equal(a.xy, b.xy)
    )
