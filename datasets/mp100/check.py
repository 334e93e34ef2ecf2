"""What a user has of MP-100, what is missing, and what is odd: the facts behind `capetune data check`."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from capetune.datasets.mp100.catalogue import MP100, known, source
from capetune.datasets.mp100.files import Key, Reading
from capetune.datasets.mp100.findings import Finding, Noted, noted, together
from capetune.datasets.mp100.gather import Gathered, survey
from capetune.datasets.mp100.pictures import (
    MISSING,
    MISSPELT,
    UNREADABLE,
    Located,
    Picture,
    Unusable,
    locate,
    pictures,
    read_image,
)
from capetune.pose import Category

Progress = Callable[[int, int], None]
EMPTY = "listed but empty"
COARSEST = 8  # a jpg is still read to its end, but made eight times smaller


@dataclass(frozen=True)
class Images:
    """Images of a category, each file once: their sum is all that its instances need.

    found: can be used. unfit: can't, though neither missing nor unreadable; the findings say why.
    """

    found: int
    missing: int
    unreadable: int
    unfit: int


@dataclass(frozen=True)
class CategoryCheck:
    """One category over all files. instances: each annotation id once. images: None where no folder was given.

    parts: (split, part) of the files with an instance of it. base: what its skeleton counts from, None without one.
    quirks (doubtful ones too), dropped: counts by name, of its annotations.
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
    category has instances in two parts of one split, which the protocol forbids. left_out: by reason, the annotations
    and images that a pack would leave out; doubtful: what it would have and may be wrong. contradictions: why there
    would be no pack. unread: of json files beside.
    """

    files: tuple[Path, ...]
    synthetic: bool
    categories: tuple[CategoryCheck, ...]
    missing: tuple[Missing, ...]
    leaks: tuple[tuple[int, tuple[int, ...]], ...]
    left_out: Mapping[str, Noted]
    doubtful: Mapping[str, Noted]
    contradictions: tuple[str, ...]
    unread: tuple[str, ...]

    @property
    def lost(self) -> tuple[str, ...]:
        """File names of the images that aren't on disk, or not under that name."""
        return tuple(sorted(file for why in (MISSING, MISSPELT) for file in self._files(why)))

    @property
    def broken(self) -> tuple[str, ...]:
        """File names of the images that don't decode."""
        return self._files(UNREADABLE)

    def _files(self, reason: str) -> tuple[str, ...]:
        return self.left_out[reason].files if reason in self.left_out else ()

    @property
    def dropped(self) -> int:
        """How many annotations give no instance, whatever their images."""
        return sum(entry.instances for entry in self.left_out.values() if not entry.files)

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
                "dropped": self.dropped,
                "images": None if self.images is None else vars(self.images),
            },
            "missing_categories": [vars(entry) for entry in self.missing],
            "empty_categories": [{"id": c.id, "name": c.name} for c in self.empty],
            "leaks": [{"split": split, "categories": list(ids)} for split, ids in self.leaks],
            "missing_images": list(self.lost),
            "unreadable_images": list(self.broken),
            "left_out": {reason: entry.to_json() for reason, entry in self.left_out.items()},
            "doubtful": {reason: entry.to_json() for reason, entry in self.doubtful.items()},
            "contradictions": list(self.contradictions),
            "unread": list(self.unread),
            "categories": [row.to_json() for row in self.categories],
        }


def check(annotations: Path, images: Path | None = None, progress: Progress | None = None) -> Checkup:
    """Read every annotation file of a folder and, where `images` is given, decode every image it needs.

    progress: called with (images read, images that are there) after each. UserError where either folder isn't one, or
    there is no readable MP-100 file. What contradicts itself between the files is told, and the first file believed.
    """
    gathered = survey(annotations)
    annotated = pictures(gathered.instances.values())
    located = Located([], [], []) if images is None else locate(annotated, Path(images))
    unusable, doubts = read_all(located.found, progress)
    lost = [*located.lost, *unusable]
    doubts = [*gathered.doubts, *located.doubts, *doubts]
    rows = _rows(gathered, None if images is None else _states(annotated, lost), doubts)
    rows.sort(key=lambda row: (not row.official, row.source, row.category.id))
    return Checkup(
        files=tuple(reading.path for reading in gathered.readings.values()),
        synthetic=gathered.synthetic,
        categories=tuple(rows),
        missing=tuple(_missing(rows)),
        leaks=tuple(_leaks(gathered.readings)),
        left_out=noted([*gathered.dropped, *lost]),
        doubtful=noted(doubts),
        contradictions=gathered.contradictions,
        unread=gathered.notes,
    )


def read_all(found: list[tuple[Picture, Path]], progress: Progress | None) -> tuple[list[Finding], list[Finding]]:
    """Decode the pictures. Returns findings of the instances whose pictures can't be used, and what is doubtful."""
    unusable: list[Finding] = []
    doubts: list[Finding] = []
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore")  # Pillow's; set here, for what a thread sets holds for all of them
        for done, (picture, told) in enumerate(pool.map(_decode, found), start=1):
            if isinstance(told, Unusable):
                unusable += picture.findings(told.reason, told.detail)
            else:
                doubts += (finding for reason in told for finding in picture.findings(reason))
            if progress is not None:
                progress(done, len(found))
    return unusable, doubts


def _decode(found: tuple[Picture, Path]) -> tuple[Picture, tuple[str, ...] | Unusable]:
    """What is doubtful about one picture, or why it can't be used."""
    picture, file = found
    try:
        return picture, read_image(file, picture.size, COARSEST)[2]
    except Unusable as why:
        return picture, why


def _states(annotated: list[Picture], lost: list[Finding]) -> dict[str, str]:
    """By file name: a field of Images. One that is annotated with two sizes is found if it has either."""
    reasons = {(finding.file, finding.annotation): finding.reason for finding in lost}
    names = {None: "found", MISSING: "missing", MISSPELT: "missing", UNREADABLE: "unreadable"}
    states: dict[str, str] = {}
    for picture in annotated:
        state = names.get(reasons.get((picture.name, picture.instances[0].id)), "unfit")
        states[picture.name] = state if states.get(picture.name) != "found" else "found"
    return states


def _rows(gathered: Gathered, states: Mapping[str, str] | None, doubts: list[Finding]) -> list[CategoryCheck]:
    readings = gathered.readings
    files: dict[int, dict[str, None]] = {id: {} for id in gathered.categories}
    instances = Counter(instance.category_id for instance in gathered.instances.values())
    for instance in gathered.instances.values():
        files[instance.category_id][instance.file_name] = None
    quirks = _count([*together([gathered.quirks, _folder_quirks(gathered.categories)]), *doubts])
    dropped = _count(gathered.dropped)
    rows = []
    for id, category in gathered.categories.items():
        bases = [reading.bases[id] for reading in readings.values() if id in reading.bases]
        images = Counter(states[name] for name in files[id]) if states is not None else None
        rows.append(
            CategoryCheck(
                category=category,
                source=source(id, category.name),
                official=known(id, category.name) is not None,
                parts=tuple(key for key, reading in readings.items() if reading.part.instances.get(id)),
                instances=instances[id],
                images=None if images is None else Images(*(images[field.name] for field in fields(Images))),
                base=next((base for base in bases if base is not None), None),
                quirks=quirks.get(id, {}),
                dropped=dropped.get(id, {}),
            )
        )
    return rows


def _folder_quirks(categories: Mapping[int, Category]) -> Iterator[Finding]:
    """What only shows when the files are seen together."""
    names = Counter(category.name for category in categories.values())
    for category in categories.values():
        if names[category.name] > 1:
            yield Finding(category.id, "name shared by two categories")
        if category.id in MP100 and known(category.id, category.name) is None:
            yield Finding(category.id, "id of MP-100, name of none of its")


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


def _count(findings: Iterable[Finding]) -> dict[int, dict[str, int]]:
    """By category, then by reason, the most frequent first."""
    counts: dict[int, Counter[str]] = {}
    for finding in findings:
        counts.setdefault(finding.category, Counter())[finding.reason] += 1
    return {id: dict(sorted(group.items(), key=lambda item: (-item[1], item[0]))) for id, group in counts.items()}
