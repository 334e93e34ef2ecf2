"""Labelme's files, and those of X-AnyLabeling, which are the same and more: a JSON file a picture.

Points and a rectangle of one group id are an object, and the rectangle's label is its category. Without a group id
they are the picture's one object.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from pydantic import BaseModel, Field

from capetune.datasets.labels.labels import HIDDEN, OBJECT, VISIBLE, Box, Labels
from capetune.datasets.labels.pictures import Pictures
from capetune.datasets.labels.reading import files, fitting, read_json
from capetune.datasets.mp100.findings import counted, listed
from capetune.errors import UserError

UNSEEN = {"occluded", "hidden", "invisible"}  # a shape's own flag that says so


class Shape(BaseModel):
    """difficult: X-AnyLabeling's, which its YOLO export writes as hidden."""

    label: str
    points: list[tuple[float, float]]
    shape_type: str = "polygon"
    group_id: int | None = None
    flags: dict[str, bool] | None = None
    difficult: bool = False


class Page(BaseModel):
    shapes: list[Shape]
    image: str = Field(alias="imagePath")
    height: int | None = Field(None, alias="imageHeight")
    width: int | None = Field(None, alias="imageWidth")


def read_labelme(source: Path, pictures: Pictures) -> Labels:
    """A file, or a folder of them, those of its folders too. A point with the flag "occluded", "hidden" or "invisible"
    is hidden. Raises UserError where a file isn't of that format."""
    labels = Labels()
    for file in files(source, "**/*.json"):
        tree = read_json(file)
        if source.is_dir() and not (isinstance(tree, dict) and "shapes" in tree):
            labels.lose("json file that isn't of labelme", file.name)
            continue
        _read_page(fitting(Page, tree, file), labels, pictures, file)
    labels.note("labelme has no order of keypoints: they are as the first object with most of them has them")
    unnamed = [one.image for one in labels.objects if one.box is None]
    if unnamed:
        labels.note(
            f"no rectangle with a label: {counted(len(unnamed), 'object')} called {OBJECT!r}: {listed(unnamed)}"
        )
    return labels


def _read_page(page: Page, labels: Labels, pictures: Pictures, file: Path) -> None:
    name = _picture(page.image, pictures, file)
    size = (page.width, page.height) if page.width and page.height else pictures.size(name)
    if size is None:
        raise UserError(f"{file} has no imageWidth and imageHeight, and {name} isn't below {pictures.folder}: --images")
    labels.picture(name, size, str(file))
    groups: dict[int | None, list[Shape]] = defaultdict(list)
    for shape in page.shapes:
        if shape.shape_type in ("point", "rectangle"):
            groups[shape.group_id].append(shape)
        else:
            labels.lose(f"{shape.shape_type}: not a point or rectangle", name)
    for group in groups.values():
        boxes = [shape for shape in group if shape.shape_type == "rectangle"]
        points = [shape for shape in group if shape.shape_type == "point"]
        if len(boxes) > 1 and points:
            labels.lose("points with several rectangles in one group", name)
            continue
        box = boxes[0] if boxes else None
        spots = [(shape.label, *_only(shape, file), _visibility(shape)) for shape in points]
        labels.add(box.label if box else OBJECT, name, spots, _box(box, file) if box else None)


def _picture(path: str, pictures: Pictures, file: Path) -> str:
    """It is named from the label file's folder."""
    return pictures.of(file.parent / path.replace("\\", "/"))


def _visibility(shape: Shape) -> int:
    set_flags = {flag.lower() for flag, value in (shape.flags or {}).items() if value}
    return HIDDEN if shape.difficult or set_flags & UNSEEN else VISIBLE


def _only(shape: Shape, file: Path) -> tuple[float, float]:
    if len(shape.points) != 1:
        raise UserError(f"{file}: point {shape.label!r} has {len(shape.points)} points, not one; save it again")
    return shape.points[0]


def _box(shape: Shape, file: Path) -> Box:
    """Of two opposite corners, or of all four."""
    if len(shape.points) not in (2, 4):
        raise UserError(f"{file}: rectangle {shape.label!r} has {len(shape.points)} points, not 2 or 4; save it again")
    across, down = zip(*shape.points, strict=True)
    return min(across), min(down), max(across) - min(across), max(down) - min(down)
