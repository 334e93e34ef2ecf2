"""Looks for one annotated picture below all folders at hand.

A name alone proves nothing: AP-10K and COCO, or the five folders of Keypoint-5, have other pictures of the same names,
often of the same size. A picture is taken where its path, its place in the source's layout or the source's own labels
say that it is meant; what only may be meant is named and not taken.
"""

from __future__ import annotations

import filecmp
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from PIL import Image

from capetune.datasets.mp100.findings import Finding
from capetune.datasets.mp100.labels import CocoLabels, FrameLabels, Row
from capetune.datasets.mp100.pictures import (
    MISSING,
    OUTSIDE,
    UNREADABLE,
    Picture,
    Unusable,
    folded,
    leaves,
    read_image,
)
from capetune.datasets.mp100.recipes import Recipe, recipe_of, recipes
from capetune.datasets.mp100.trees import File, Trees

AMBIGUOUS = "image ambiguous"
MISNAMED = "another picture lies under the name"
UNPROVEN = "name that other pictures have elsewhere, and no label file that proves it"
Where = Path | Row
T = TypeVar("T", bound=Where)


class Finder:
    def __init__(self, images: Path, sources: Mapping[str, Path], annotated: list[Picture]) -> None:
        self.images, self.trees = images, Trees(images, sources)
        self.wanted = {tuple(folded(picture.name)) for picture in annotated}
        self.depths = sorted({len(parts) for parts in self.wanted if len(parts) > 1})
        self.labels: dict[str, CocoLabels | FrameLabels] = {}
        needed = {recipe.name: recipe for picture in annotated if (recipe := recipe_of(_top(picture)))}
        for name, recipe in needed.items():
            like = self.trees.like(recipe.labels) if recipe.labels else []
            if files := _distinct([file.path for file in like if file.source in (None, name)]):
                of_frames = recipe.labels.endswith(".h5")
                self.labels[name] = FrameLabels(files) if of_frames else CocoLabels(files, self.trees)

    @property
    def unread(self) -> list[str]:
        return [*self.trees.unread, *(line for labels in self.labels.values() for line in labels.unread)]

    def find(self, picture: Picture) -> tuple[Where, list[Finding]]:
        """Where it lies, and what is doubtful: MISNAMED, where a file of its name turned out to be another picture,
        UNPROVEN. Raises Unusable. A file that was found may still be unreadable or of the wrong size."""
        if leaves(picture.name):
            raise Unusable(OUTSIDE)
        recipe = recipe_of(_top(picture))
        meant = self._meant(picture, recipe)
        try:
            named, fits = self._named(picture, recipe)
        except Unusable as why:
            if len(meant) == 1:
                return meant[0], []
            told = f"its labels fit {meant[0]} and {len(meant) - 1} more" if meant else ""
            raise Unusable(AMBIGUOUS, told) if meant else why from None
        if not meant:
            return named, [*picture.findings(UNPROVEN)] if recipe and recipe.labels and fits else []
        if any(self._same(named, place, picture, recipe) for place in meant):
            return named, []
        if len(meant) > 1:
            raise Unusable(AMBIGUOUS, f"{named} has its name; its labels fit {meant[0]} and {len(meant) - 1} more")
        return meant[0], [*picture.findings(MISNAMED, f"{named}; the labels are {meant[0]}'s")] if fits else []

    def _meant(self, picture: Picture, recipe: Recipe | None) -> list[Where]:
        """By the source's labels, copies once."""
        labels = self.labels.get(recipe.name) if recipe else None
        return _distinct(labels.meant(picture)) if labels else []

    def _same(self, named: Path, meant: Where, picture: Picture, recipe: Recipe | None) -> bool:
        if isinstance(meant, Path):
            return _equal(named, meant)
        labels = self.labels[recipe.name] if recipe else None
        assert isinstance(labels, FrameLabels)
        try:
            return labels.same(meant, read_image(named, picture.size)[0])
        except Unusable:
            return False

    def _named(self, picture: Picture, recipe: Recipe | None) -> tuple[Path, bool]:
        """By its name and place, and whether the size fits. Raises Unusable: MISSING, AMBIGUOUS, UNREADABLE."""
        place = self.images / picture.name
        try:
            there = place.is_file()
        except OSError as error:  # a name that is too long, a folder that may not be entered
            raise Unusable(UNREADABLE, error.strerror or "") from None
        if there and _fits(place, picture.size):
            return place, True
        ranked: dict[int, list[Path]] = {}
        for file in self.trees.named(picture.name):
            ranked.setdefault(self._rank(file, picture, recipe), []).append(file.path)
        sure = sorted((rank for rank in ranked if rank > 1), reverse=True)
        for rank in sure:
            fitting = _distinct([path for path in ranked[rank] if _fits(path, picture.size)])
            if len(fitting) > 1:
                raise Unusable(AMBIGUOUS, f"{fitting[0]} or {fitting[1]}")
            if fitting:
                return fitting[0], True
        if there or sure:
            return place if there else ranked[sure[0]][0], False
        if guess := next((path for path in ranked.get(1, ()) if _fits(path, picture.size)), None):
            raise Unusable(AMBIGUOUS, f"{guess} has its name and size; nothing else says that it is meant")
        raise Unusable(MISSING, f"{ranked[1][0]} has its name, but isn't a picture of its size" if 1 in ranked else "")

    def _rank(self, file: File, picture: Picture, recipe: Recipe | None) -> int:
        """How surely a file of the picture's name is it. 4: it lies as in the official layout; 3: at its place in the
        source's; 2: in the source's folder, or its name is no other data set's; 1: nothing but the name; 0: it is
        another picture."""
        full = tuple(folded(picture.name))
        below = full[1:] or full
        if len(full) > 1 and file.parts[-len(full) :] == full:
            return 4
        if any(file.parts[-depth:] in self.wanted for depth in self.depths):
            return 0
        if file.source is not None and (recipe is None or file.source != recipe.name):
            return 0
        whole = file.parts[-len(below) :] == below
        folder = file.parts[: -len(below) if whole else -1]
        holds = recipe.holds(folder, _top(picture)) if recipe else None
        others = (other for other in recipes().values() if file.source is None and other is not recipe)
        if holds is False or (holds is None and any(other.holds(folder, "") is False for other in others)):
            return 0
        if whole and (holds or len(below) > 1):
            return 3
        return 2 if recipe and (recipe.telling or file.source) else 1


def _top(picture: Picture) -> str:
    """The folder that it is annotated in."""
    first, *rest = PurePosixPath(picture.name.replace("\\", "/")).parts or ("",)
    return first if rest else ""


def _fits(file: Path, size: tuple[int, int]) -> bool:
    """By the header alone, either way up."""
    try:
        with Image.open(file) as image:
            return size in (image.size, image.size[::-1])
    except Exception:  # as in `read_image`
        return False


def _distinct(places: Sequence[T]) -> list[T]:
    """Copies of one file once."""
    found: list[T] = []
    for place in places:
        if not isinstance(place, Path) or not any(isinstance(p, Path) and _equal(place, p) for p in found):
            found.append(place)
    return found


def _equal(one: Path, other: Path) -> bool:
    return os.path.samefile(one, other) or filecmp.cmp(one, other, shallow=False)
