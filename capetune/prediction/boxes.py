"""Boxes of one's own pictures, out of a file of COCO's format: an annotation tool's or a detector's."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated

import numpy as np
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from capetune.errors import UserError
from capetune.prediction.pictures import Picture
from capetune.runs.document import Odd, read_checked

Side = Annotated[float, Field(allow_inf_nan=False)]


class _Image(TypedDict):
    id: int
    file_name: str


class _Box(TypedDict):
    image_id: int
    bbox: Annotated[list[Side], Field(min_length=4, max_length=4)]


class _File(TypedDict):
    images: list[_Image]
    annotations: list[_Box]


_FILE = TypeAdapter(_File)


def read_boxes(file: Path, pictures: Iterable[Picture]) -> tuple[dict[str, list[np.ndarray]], int]:
    """The boxes of each picture by its name, float64 (4,), xywh, in file order, and how many are of other pictures.

    A picture is found by its name, else by the end of its path, else by its file's own name where that is one
    picture's. Raises UserError where the file has no boxes in COCO's format.
    """
    try:
        tree: _File = read_checked(file, _FILE)
    except FileNotFoundError:
        raise UserError(f"--boxes {file}: there is no such file") from None
    except Odd as odd:
        wanted = "wanted is COCO's format: images with id and file_name, annotations with image_id and bbox"
        raise UserError(f"--boxes {file} {odd}; {wanted}") from None
    names = {image["id"]: image["file_name"] for image in tree["images"]}
    there: dict[str, list[np.ndarray]] = {name: [] for name in names.values()}
    for box in tree["annotations"]:
        if box["image_id"] not in names:
            raise UserError(f"--boxes {file}: a box is of image {box['image_id']}, which isn't listed; export it again")
        there[names[box["image_id"]]].append(np.array(box["bbox"], dtype=np.float64))
    last: dict[str, list[str]] = {}
    for name in there:
        last.setdefault(PurePosixPath(name).name, []).append(name)
    found: dict[str, list[np.ndarray]] = {}
    used: set[str] = set()
    for picture in pictures:
        same = _same(picture, there, last.get(picture.file.name, []))
        if same is not None:
            used.add(same)
            found[picture.name] = there[same]
    return found, sum(len(boxes) for name, boxes in there.items() if name not in used)


def _same(picture: Picture, there: Container[str], alike: Sequence[str]) -> str | None:
    """alike: names whose last part is the file's own."""
    if picture.name in there:
        return picture.name
    path = picture.file.absolute().as_posix()
    ends = [name for name in alike if path.endswith(f"/{name}")]
    if ends:
        return max(ends, key=len)
    return alike[0] if len(alike) == 1 else None
