"""COCO files as annotation tools export them, as one data set: what one means by an id another may mean otherwise.

Each file is read as MP-100's are (`files.read_file`). Between files a picture is known by its name and a category by
its name; ids that are taken already are numbered anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from capetune.datasets.mp100.files import Reading, read_file
from capetune.datasets.mp100.findings import Finding, counted
from capetune.datasets.mp100.gather import Agreement, pictures_twice
from capetune.datasets.mp100.parts import picture
from capetune.errors import UserError
from capetune.pose import Category, Instance

EMPTY = "category without a usable annotation: left out"
SHARED = "picture in several exports: one file is taken for it"


@dataclass(frozen=True, eq=False)
class Exports:
    """categories: by id, those with instances. instances: each once, in file order. dropped, doubts: by the ids that
    the instances have here; what was dropped keeps its file's. notes: lines of what was changed."""

    categories: dict[int, Category]
    instances: tuple[Instance, ...]
    dropped: tuple[Finding, ...]
    doubts: tuple[Finding, ...]
    notes: tuple[str, ...]
    synthetic: bool


def read_exports(paths: Sequence[Path]) -> Exports:
    """Read COCO files, JSON or gzipped JSON, that may be of several tasks or annotators.

    An annotation that two of them have alike is taken once. Raises UserError where a file can't be read, is given
    twice, or two of them disagree about the keypoints of a category.
    """
    resolved = [path.resolve() for path in paths]
    for path in resolved:
        if resolved.count(path) > 1:
            raise UserError(f"{path} is given twice; give each file once")
    readings = [read_file(path, 1, "train") for path in paths]
    merged = _Merged(readings)
    for reading in readings:
        merged.add(reading)
    return merged.whole()


@dataclass
class _Numbers:
    """Ids of one table: each thing keeps its own, unless another thing has it. next: no file has it or one above."""

    next: int
    taken: dict[int, object] = field(default_factory=dict)
    ids: dict[object, int] = field(default_factory=dict)

    def id(self, thing: object, own: int) -> int:
        if thing not in self.ids:
            if own in self.taken:
                own, self.next = self.next, self.next + 1
            self.taken[own], self.ids[thing] = thing, own
        return self.ids[thing]


class _Merged:
    """What has been made of the files so far."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        instances = [instance for reading in readings for instance in _all(reading)]
        self.several = len(readings) > 1
        self.readings = readings
        self.agreement = Agreement()
        self.instances: dict[tuple, tuple[Instance, Path]] = {}
        self.dropped: list[Finding] = []
        self.doubts: list[Finding] = []
        self.notes: list[str] = []
        self.repeated = 0
        self._categories = _Numbers(_above(c.id for reading in readings for c in reading.part.categories))
        self._images = _Numbers(_above(instance.image_id for instance in instances))
        self._annotations = _Numbers(_above(instance.id for instance in instances))

    def add(self, reading: Reading) -> None:
        path, changed = reading.path, Counter[str]()
        ids = self._number_categories(reading)
        changed["category"] = sum(old != new for old, new in ids.items())
        kept: dict[int, int] = {}
        own: dict[str, set[int]] = {}  # image ids, by name
        for instance in _all(reading):
            own.setdefault(picture(instance.file_name), set()).add(instance.image_id)
        images: dict[tuple[str, int], bool] = {}
        for id, group in reading.part.instances.items():
            for instance in group:
                name = picture(instance.file_name)
                arrays = (instance.box, instance.xy, instance.visible)
                pose = (ids[id], name, *(array.tobytes() for array in arrays))
                same = self.instances.get(pose)
                if same is not None and same[1] != path:
                    self.repeated += 1
                    continue
                number = self._annotations.id((path, instance.id), instance.id)
                known = name if len(own[name]) == 1 else (name, instance.image_id)
                image = self._images.id(known, instance.image_id)
                images[name, instance.image_id] = image != instance.image_id
                changed["annotation"] += number != instance.id
                kept[instance.id] = number
                pose = pose if same is None else (*pose, number)  # twice in one file: left as it is
                self.instances[pose] = replace(instance, id=number, image_id=image, category_id=ids[id]), path
        changed["image"] = sum(images.values())
        doubts = [*reading.doubts, *pictures_twice({instance.id: instance for instance in _all(reading)})]
        self.doubts += (self._told(finding, ids, kept, path) for finding in doubts)
        self.dropped += (self._told(finding, ids, {}, path) for finding in reading.dropped)
        if any(changed.values()):
            many = {"category": "categories", "annotation": "annotations", "image": "images"}
            what = [counted(number, name, many[name]) for name, number in changed.items() if number]
            self.notes.append(f"{path.name}: {', '.join(what)} numbered anew, to fit the files before it")

    def _number_categories(self, reading: Reading) -> dict[int, int]:
        """From the file's ids to ours; a name that stands there twice is two categories."""
        seen: Counter[str] = Counter()
        ids: dict[int, int] = {}
        for category in reading.part.categories:
            seen[category.name] += 1
            id = ids[category.id] = self._categories.id((category.name, seen[category.name]), category.id)
            first, other = self.agreement.chosen.get(id, (category, reading.path))
            sizes = first.graph.size, category.graph.size
            if all(sizes) and sizes[0] != sizes[1]:
                raise UserError(
                    f"category {category.name!r} has {sizes[0]} keypoints in {other} and {sizes[1]} in {reading.path}: "
                    "export both from one project, or pack them apart"
                )
            self.agreement.hear(replace(category, id=id), reading.path)
        if self.agreement.contradictions:
            raise UserError(next(iter(self.agreement.contradictions.values())))
        return ids

    def _told(self, finding: Finding, ids: dict[int, int], kept: dict[int, int], path: Path) -> Finding:
        """By our ids; of several files it says which one."""
        detail = ", ".join([*filter(None, [finding.detail]), *([path.name] if self.several else [])])
        annotation = None if finding.annotation is None else kept.get(finding.annotation, finding.annotation)
        category = ids.get(finding.category, finding.category)
        return replace(finding, category=category, annotation=annotation, detail=detail)

    def whole(self) -> Exports:
        instances = tuple(instance for instance, _ in self.instances.values())
        used = {instance.category_id for instance in instances}
        categories = {id: category for id, (category, _) in self.agreement.chosen.items()}
        empty = [Finding(id, EMPTY, detail=category.name) for id, category in categories.items() if id not in used]
        if self.repeated:
            again = counted(self.repeated, "annotation stands", "annotations stand")
            self.notes.append(f"{again} in several of the files alike: taken once")
        return Exports(
            {id: category for id, category in categories.items() if id in used},
            instances,
            tuple(self.dropped),
            (*self.doubts, *self.agreement.doubts, *empty, *self._shared()),
            tuple(self.notes),
            any(reading.part.synthetic for reading in self.readings),
        )

    def _shared(self) -> Iterator[Finding]:
        """Instances on pictures that several files annotate: two tasks may call two pictures alike."""
        files: dict[str, dict[str, None]] = {}
        for instance, path in self.instances.values():
            files.setdefault(picture(instance.file_name), {})[str(path)] = None
        for instance, _ in self.instances.values():
            if len(found := files[picture(instance.file_name)]) > 1:
                detail = " and ".join(found)
                yield Finding(instance.category_id, SHARED, instance.id, instance.file_name, detail)


def _all(reading: Reading) -> Iterator[Instance]:
    for group in reading.part.instances.values():
        yield from group


def _above(ids: Iterable[int]) -> int:
    return max(ids, default=0) + 1
