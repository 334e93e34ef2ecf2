"""What annotation tools write, in one form: skeletons, pictures, objects, and what is lost on the way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from capetune.errors import UserError

OBJECT = "object"  # the category where the tool has no name for one
HIDDEN, VISIBLE = 1, 2  # COCO's v of a labelled keypoint; those of v = 0 are left out here

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Skeleton:
    """names: of the keypoints, in their order. edges: (i, j), undirected, zero-based."""

    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Object:
    """category, image: their names. points: by keypoint, (x, y, v), pixels of the picture, v is HIDDEN or VISIBLE; at
    least one. box: xywh in pixels, None where there is none."""

    category: str
    image: str
    points: dict[str, tuple[float, float, int]]
    box: Box | None


@dataclass
class Labels:
    """What has been read so far.

    skeletons: by category, those that the tool declares; a category without one has the keypoints of its objects.
    images: (width, height) by name, below the images folder. shared: names of those that stand in several places, two
    files or tasks. lost: by reason, places. notes: lines of what was assumed.
    """

    skeletons: dict[str, Skeleton] = field(default_factory=dict)
    images: dict[str, tuple[int, int]] = field(default_factory=dict)
    shared: dict[str, None] = field(default_factory=dict)
    objects: list[Object] = field(default_factory=list)
    lost: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)

    def declare(self, category: str, names: Sequence[str], edges: Iterable[tuple[int, int]], place: str) -> None:
        """Raises UserError where a keypoint's name is empty or stands twice, or the category has another skeleton."""
        twice = [name for name in names if not name or list(names).count(name) > 1]
        if twice:
            raise UserError(f"{place}: keypoint name {twice[0]!r} of {category!r} is given twice or empty; rename it")
        pairs = {(min(pair), max(pair)) for pair in edges}
        made = Skeleton(tuple(names), tuple(sorted(pair for pair in pairs if pair[0] != pair[1])))
        if self.skeletons.setdefault(category, made) != made:
            raise UserError(f"{place}: {category!r} has another skeleton than before; import the files apart")

    def picture(self, name: str, size: tuple[int, int], place: str) -> None:
        """To be heard once for each place that it stands in. Raises UserError where the name is a picture of another
        size already."""
        if min(size) <= 0:
            raise UserError(f"{place}: picture {name} is {size[0]}×{size[1]} pixels; export it again")
        if name in self.images:
            self.shared[name] = None
        if self.images.setdefault(name, size) != size:
            raise UserError(f"{place}: two pictures of unlike size are called {name}; import the files apart")

    def add(
        self,
        category: str,
        image: str,
        points: Iterable[tuple[str, float, float, float]],
        box: Box | None = None,
        place: str = "",
    ) -> None:
        """An object. points: name, x, y, v; not above 0 is unlabelled, from 2 on visible.

        What can't be kept is lost, at `place`, else at the image.
        """
        place = place or image
        known: dict[str, tuple[float, float, int]] = {}
        for name, x, y, v in points:
            if not v > 0:
                continue
            if not (math.isfinite(x) and math.isfinite(y)):
                self.lose("keypoint without coordinates", f"{name} at {place}")
            elif name in known:
                self.lose("keypoint that its object has already", f"{name} at {place}")
            elif category in self.skeletons and name not in self.skeletons[category].names:
                self.lose("keypoint that its skeleton hasn't", f"{name} at {place}")
            else:
                known[name] = x, y, HIDDEN if v < VISIBLE else VISIBLE
        if box is not None and not (all(map(math.isfinite, box)) and min(box[2:]) > 0):
            self.lose("box without a size", place)
            box = None
        if known:
            self.objects.append(Object(category, image, known, box))
        else:
            self.lose("object without a labelled keypoint", place)

    def lose(self, what: str, place: str) -> None:
        self.lost.setdefault(what, []).append(place)

    def note(self, line: str) -> None:
        """Said once, however often."""
        self.notes[line] = None

    def skeleton(self, category: str) -> Skeleton:
        """The declared one, else the keypoints of the category's objects: in the order of the first that has most of
        them, then as they appear."""
        if category in self.skeletons:
            return self.skeletons[category]
        objects = [one for one in self.objects if one.category == category]
        objects.sort(key=lambda one: -len(one.points))
        return Skeleton(tuple(dict.fromkeys(name for one in objects for name in one.points)))
