"""Which annotated pictures there are, wherever they lie, and what is wrong with the others: the facts behind
`capetune data doctor`."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from capetune.datasets.mp100.catalogue import Coverage, coverage, source
from capetune.datasets.mp100.check import read_all
from capetune.datasets.mp100.finder import AMBIGUOUS, Finder, Where
from capetune.datasets.mp100.findings import Finding
from capetune.datasets.mp100.gather import survey
from capetune.datasets.mp100.pictures import MISSING, UNREADABLE, WRONG_SIZE, Picture, Unusable, pictures
from capetune.datasets.mp100.recipes import recipes
from capetune.errors import UserError

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Counts:
    """Pictures of a category, each file once. elsewhere: can be used, but don't lie where they are annotated, below the
    images folder. unfit: neither of the others; the findings say why."""

    in_place: int = 0
    elsewhere: int = 0
    missing: int = 0
    ambiguous: int = 0
    wrong_size: int = 0
    unreadable: int = 0
    unfit: int = 0


STATES = {MISSING: "missing", AMBIGUOUS: "ambiguous", WRONG_SIZE: "wrong_size", UNREADABLE: "unreadable"}


@dataclass(frozen=True)
class CategoryDiagnosis:
    """source: the name of its recipe, "other" where it isn't MP-100's."""

    id: int
    name: str
    folder: str
    source: str
    pictures: Counts


@dataclass(frozen=True)
class Diagnosis:
    """categories: by source, then id. where: of each picture that can be used, by its annotated name.

    faults: why annotations and the other pictures can't. doubts: what is odd about those that can. notes: what else is
    to be said, such as files that aren't read.
    """

    annotations: Path
    images: Path
    sources: Mapping[str, Path]
    categories: tuple[CategoryDiagnosis, ...]
    where: Mapping[str, Where]
    faults: tuple[Finding, ...]
    doubts: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def total(self) -> Counts:
        return Counts(*map(sum, zip(*(vars(row.pictures).values() for row in self.categories), strict=True)))

    @property
    def coverage(self) -> Coverage | None:
        """Of the categories with a picture that can be used; None where none is MP-100's."""
        return coverage(
            (row.id, row.name) for row in self.categories if row.pictures.in_place or row.pictures.elsewhere
        )

    def lacks(self) -> dict[str, int]:
        """By source, how many pictures are missing or can't be told from others; the most first."""
        lacking: Counter[str] = Counter()
        for row in self.categories:
            lacking[row.source] += row.pictures.missing + row.pictures.ambiguous
        return {source: count for source, count in lacking.most_common() if count and source in recipes()}


def examine(
    annotations: Path, images: Path, sources: Mapping[str, Path], progress: Progress = lambda what, done, total: None
) -> Diagnosis:
    """Look for every annotated picture below the images folder and the sources' folders, and decode what is found.

    sources: a recipe's name → the folder of its download. progress: hears what is done, how far, of how many. Raises
    UserError where a folder is none, or there is no readable MP-100 file.
    """
    gathered = survey(annotations)
    if not images.is_dir():
        raise UserError(f"{images} is not a folder: give the one that holds the images")
    annotated = pictures(gathered.instances.values())
    progress("looking through folders", 0, 1)
    finder = Finder(images, sources, annotated)
    progress("looking through folders", 1, 1)
    where: dict[Picture, Where] = {}
    faults: list[Finding] = []
    doubts: list[Finding] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's
        for done, picture in enumerate(annotated, start=1):
            try:
                where[picture], doubtful = finder.find(picture)
                doubts += doubtful
            except Unusable as why:
                faults += picture.findings(why.reason, why.detail)
            progress("looking for images", done, len(annotated))
    files = [(picture, place) for picture, place in where.items() if isinstance(place, Path)]
    unusable, odd = read_all(files, lambda done, total: progress("reading images", done, total))
    at = {picture.name: place for picture, place in files if place != images / picture.name}
    faults += (
        Finding(f.category, f.reason, f.annotation, f.file, f"{at[f.file]} {f.detail}".strip()) if f.file in at else f
        for f in unusable
    )
    broken = {(finding.file, finding.annotation) for finding in faults}
    usable = {p.name: place for p, place in where.items() if (p.name, p.instances[0].id) not in broken}
    states = {finding.file: STATES.get(finding.reason, "unfit") for finding in reversed(faults)}
    states |= {name: "in_place" if place == images / name else "elsewhere" for name, place in usable.items()}
    names: dict[int, dict[str, None]] = {id: {} for id in gathered.categories}
    for picture in annotated:
        for instance in picture.instances:
            names[instance.category_id][picture.name] = None
    rows = [
        CategoryDiagnosis(
            id=id,
            name=category.name,
            folder=category.folder,
            source=source(id, category.name),
            pictures=Counts(**Counter(states[name] for name in names[id])),
        )
        for id, category in gathered.categories.items()
    ]
    rows.sort(key=lambda row: (row.source == "other", row.source, row.id))
    doubts = [*gathered.doubts, *doubts, *odd]
    notes = (*(f"a pack is refused: {why}" for why in gathered.contradictions), *gathered.notes, *finder.unread)
    return Diagnosis(
        annotations,
        images,
        dict(sources),
        tuple(rows),
        usable,
        tuple([*gathered.dropped, *faults]),
        tuple(doubts),
        notes,
    )
