"""What a user has of MP-100, what is missing, and what is odd: the facts behind `capetune data check`."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from capetune.datasets.mp100.catalogue import MP100, known, source
from capetune.datasets.mp100.files import Finding, Key, Reading, read_folder
from capetune.errors import UserError
from capetune.pose import Category, Instance

Progress = Callable[[int, int], None]
EMPTY = "listed but empty"
ROTATED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Images:
    """Images of a category, each file once: found + missing + unreadable = all that its instances need."""

    found: int
    missing: int
    unreadable: int


@dataclass(frozen=True)
class CategoryCheck:
    """One category over all files. instances: each annotation id once. images: None where no folder was given.

    parts: (split, part) of the files with an instance of it. base: what its skeleton counts from, None without one.
    quirks, dropped: counts by name, each annotation once.
    """

    category: Category
    source: str
    official: bool
    parts: tuple[Key, ...]
    instances: int
    images: Images | None
    base: int | None
    quirks: Mapping[str, int]
    dropped: Mapping[str, int]

    @property
    def recovered(self) -> bool:
        """There is something to train or test on: an image that reads, or, without a folder, an instance."""
        return self.images.found > 0 if self.images is not None else self.instances > 0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        graph = self.category.graph
        return {
            "id": self.category.id,
            "name": self.category.name,
            "folder": self.category.folder,
            "source": self.source,
            "in_mp100": self.official,
            "parts": [{"split": s, "part": p} for s, p in self.parts],
            "instances": self.instances,
            "images": None if self.images is None else vars(self.images),
            "keypoints": graph.size,
            "edges": len(graph.edges),
            "skeleton_base": self.base,
            "quirks": dict(self.quirks),
            "dropped": dict(self.dropped),
        }


@dataclass(frozen=True)
class Missing:
    """A category of MP-100 with nothing to use, where its images come from, and why there is nothing."""

    id: int
    name: str
    source: str
    why: str


@dataclass(frozen=True)
class Checkup:
    """The whole folder. categories: by source, then id. synthetic: a file says that capetune made it.

    missing: MP-100 categories with nothing to use, by id. leaks: (split, category ids) where one
    category has instances in two parts of one split, which the protocol forbids. lost, broken: file names of the
    images that aren't on disk, and of those that don't decode.
    """

    files: tuple[Path, ...]
    synthetic: bool
    categories: tuple[CategoryCheck, ...]
    missing: tuple[Missing, ...]
    leaks: tuple[tuple[int, tuple[int, ...]], ...]
    lost: tuple[str, ...]
    broken: tuple[str, ...]

    @property
    def empty(self) -> tuple[Category, ...]:
        """Categories that are listed without any usable instance."""
        return tuple(row.category for row in self.categories if row.instances == 0)

    @property
    def recovered(self) -> int:
        """How many of MP-100's 100 categories there is something of."""
        return sum(row.official and row.recovered for row in self.categories)

    @property
    def images(self) -> Images | None:
        """Sum over the categories, None where no folder was given."""
        rows = [row.images for row in self.categories if row.images is not None]
        return Images(*(sum(x) for x in zip(*(vars(r).values() for r in rows), strict=True))) if rows else None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "files": [str(path) for path in self.files],
            "data": "synthetic" if self.synthetic else "real",
            "totals": {
                "recovered": self.recovered,
                "of": len(MP100),
                "others": sum(not row.official for row in self.categories),
                "instances": sum(row.instances for row in self.categories),
                "dropped": sum(sum(row.dropped.values()) for row in self.categories),
                "images": None if self.images is None else vars(self.images),
            },
            "missing_categories": [vars(entry) for entry in self.missing],
            "empty_categories": [{"id": c.id, "name": c.name} for c in self.empty],
            "leaks": [{"split": split, "categories": list(ids)} for split, ids in self.leaks],
            "missing_images": list(self.lost),
            "unreadable_images": list(self.broken),
            "categories": [row.to_json() for row in self.categories],
        }


def check(annotations: Path, images: Path | None = None, progress: Progress | None = None) -> Checkup:
    """Read every annotation file of a folder and, where `images` is given, decode every image it needs.

    progress: called with (images read, images in all) after each. UserError where either folder isn't one, or there
    is no readable MP-100 file.
    """
    if images is not None and not Path(images).is_dir():
        raise UserError(f"{images} is not a folder; give the one that holds a folder for each category of MP-100")
    readings = read_folder(annotations)
    instances = _unique(readings)
    states: dict[str, str] = {}
    resized: set[str] = set()
    if images is not None:
        states, resized = _read_images(Path(images), [i for group in instances.values() for i in group], progress)
    categories = _categories(readings)
    quirks = {quirk for reading in readings.values() for quirk in reading.quirks}
    quirks |= set(_folder_quirks(readings, categories))
    quirks |= {
        Finding(instance.category_id, "image size differs from the annotation", instance.id)
        for group in instances.values()
        for instance in group
        if instance.file_name in resized
    }
    dropped = {finding for reading in readings.values() for finding in reading.dropped}
    rows = []
    for category, base in categories.values():
        group = instances[category.id]
        files = Counter(states[name] for name in {instance.file_name for instance in group} if states)
        rows.append(
            CategoryCheck(
                category=category,
                source=source(category.id, category.name),
                official=known(category.id, category.name) is not None,
                parts=tuple(key for key, reading in readings.items() if reading.part.instances.get(category.id)),
                instances=len(group),
                images=None if images is None else Images(files["found"], files["missing"], files["unreadable"]),
                base=base,
                quirks=_count(quirks, category.id),
                dropped=_count(dropped, category.id),
            )
        )
    rows.sort(key=lambda row: (not row.official, row.source, row.category.id))
    return Checkup(
        files=tuple(reading.path for reading in readings.values()),
        synthetic=any(reading.part.synthetic for reading in readings.values()),
        categories=tuple(rows),
        missing=tuple(_missing(rows)),
        leaks=tuple(_leaks(readings)),
        lost=tuple(sorted(name for name, state in states.items() if state == "missing")),
        broken=tuple(sorted(name for name, state in states.items() if state == "unreadable")),
    )


def _unique(readings: Mapping[Key, Reading]) -> dict[int, tuple[Instance, ...]]:
    """By category, the instances of all files: the splits share them, each annotation id counts once."""
    found: dict[int, dict[int, Instance]] = {}
    for reading in readings.values():
        for id, group in reading.part.instances.items():
            found.setdefault(id, {}).update((instance.id, instance) for instance in group)
    return {id: tuple(group.values()) for id, group in found.items()}


def _categories(readings: Mapping[Key, Reading]) -> dict[int, tuple[Category, int | None]]:
    """By id, each category with its skeleton's base; one that has instances goes before one that is only listed."""
    found: dict[int, tuple[Category, int | None]] = {}
    for filled in (True, False):
        for reading in readings.values():
            for category in reading.part.categories:
                if bool(reading.part.instances[category.id]) is filled:
                    found.setdefault(category.id, (category, reading.bases[category.id]))
    return found


def _folder_quirks(
    readings: Mapping[Key, Reading], categories: Mapping[int, tuple[Category, int | None]]
) -> Iterator[Finding]:
    """What only shows when the files are seen together."""
    names = Counter(category.name for category, _ in categories.values())
    for category, _ in categories.values():
        if names[category.name] > 1:
            yield Finding(category.id, "name shared by two categories")
        if category.id in MP100 and known(category.id, category.name) is None:
            yield Finding(category.id, "id of MP-100, name of none of its")
        if any(c.id == category.id and c != category for r in readings.values() for c in r.part.categories):
            yield Finding(category.id, "differs between files")


def _read_images(folder: Path, instances: list[Instance], progress: Progress | None) -> tuple[dict[str, str], set[str]]:
    """By file name "found", "missing" or "unreadable"; and those found whose size isn't the annotated one."""
    sizes = {instance.file_name: instance.image_size for instance in instances}
    states, resized = {}, set()
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore")  # Pillow's remarks on odd EXIF blocks and large images
        for name, (state, size) in zip(sizes, pool.map(lambda n: _read_image(folder / n), sizes), strict=True):
            states[name] = state
            if state == "found" and size != sizes[name]:
                resized.add(name)
            if progress is not None:
                progress(len(states), len(sizes))
    return states, resized


def _read_image(path: Path) -> tuple[str, tuple[int, int]]:
    """The state of one file and its (width, height) as it is displayed."""
    if not path.is_file():
        return "missing", (0, 0)
    try:
        with Image.open(path) as image:
            width, height = image.size
            rotated = image.getexif().get(ORIENTATION) in ROTATED
            image.draft("RGB", (width // 8, height // 8))  # a JPEG is still read to its end, but made eight times less
            image.load()
    except Exception:  # Pillow's decoders raise whatever they like on a broken file
        return "unreadable", (0, 0)
    return "found", (height, width) if rotated else (width, height)


def _missing(rows: list[CategoryCheck]) -> Iterator[Missing]:
    official = {row.category.id: row for row in rows if row.official}
    for entry in MP100.values():
        row = official.get(entry.id)
        if row is None or not row.recovered:
            why = "not in the annotation files" if row is None else "no image found" if row.instances else EMPTY
            yield Missing(entry.id, entry.name, entry.source, why)


def _leaks(readings: Mapping[Key, Reading]) -> Iterator[tuple[int, tuple[int, ...]]]:
    parts = Counter((s, id) for (s, _), r in readings.items() for id, group in r.part.instances.items() if group)
    for split in sorted({split for split, _ in readings}):
        ids = tuple(sorted(id for (s, id), count in parts.items() if s == split and count > 1))
        if ids:
            yield split, ids


def _count(findings: set[Finding], category: int) -> dict[str, int]:
    """By reason, the most frequent first."""
    counts = Counter(finding.reason for finding in findings if finding.category == category)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
