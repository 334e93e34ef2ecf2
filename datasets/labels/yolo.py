"""YOLO's pose labels: a data.yaml, and beside each picture's folder one of text files, a line an object.

Source of the format: docs.ultralytics.com, pose datasets. Names of the keypoints (`kpt_names`) are young and optional.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import BaseModel, Field

from capetune.datasets.labels.labels import VISIBLE, Labels
from capetune.datasets.labels.pictures import Pictures
from capetune.datasets.labels.reading import files, fitting, read_text
from capetune.errors import UserError
from capetune.yaml12 import read_yaml

PICTURES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
BOX = 5  # numbers of an object before its keypoints: class, centre, sides
Named = list[str] | dict[int, str]


class DataYaml(BaseModel):
    """kpt_shape: how many keypoints, and 2 for x, y or 3 for x, y, v."""

    path: str | None = None
    train: str | list[str] | None = None
    val: str | list[str] | None = None
    test: str | list[str] | None = None
    names: Named
    kpt_shape: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(ge=2, le=3)]]
    kpt_names: list[str] | list[list[str]] | dict[int, list[str]] | None = None


def read_yolo(source: Path, pictures: Pictures) -> Labels:
    """A data.yaml, or the folder that has it. Pictures are looked for where it says, below `pictures`' folder.

    Of two numbers a keypoint (0, 0) and what is negative counts as unlabelled. Raises UserError where a file isn't of
    that format.
    """
    labels = Labels()
    for file in files(source, "*.yaml", "*.yml"):
        tree = read_yaml(file)
        if source.is_dir() and not (isinstance(tree, dict) and "kpt_shape" in tree):
            labels.lose("yaml file without kpt_shape", file.name)
            continue
        data = fitting(DataYaml, tree, file)
        classes = dict(enumerate(data.names)) if isinstance(data.names, list) else data.names
        for number, category in classes.items():
            labels.declare(category, _names(data, number, labels, file), (), str(file))
        for name in _listed(data, labels, pictures, file):
            _read_picture(name, data, classes, labels, pictures)
    return labels


def _names(data: DataYaml, number: int, labels: Labels, file: Path) -> list[str]:
    count, given = data.kpt_shape[0], data.kpt_names
    if not given:
        labels.note(f"{file.name} has no kpt_names: keypoints are called by their numbers, 0 to {count - 1}")
        return [str(k) for k in range(count)]
    entry = given.get(number) if isinstance(given, dict) else given if isinstance(given[0], str) else None
    names = entry if entry is not None else given[number] if number in range(len(given)) else []
    if len(names) != count:
        raise UserError(f"{file}: kpt_names has {len(names)} names for class {number}, kpt_shape says {count}")
    return [str(name) for name in names]


def _listed(data: DataYaml, labels: Labels, pictures: Pictures, file: Path) -> list[str]:
    """The pictures' names below their folder, each once. Parts that aren't there are lost: Roboflow names a test part
    also where there is none."""
    found: dict[str, None] = {}
    absent = ""
    for entry in (data.train, data.val, data.test):
        for path in [entry] if isinstance(entry, str) else entry or []:
            place = _place(path, data, pictures, file)
            if place is None:
                absent = absent or path
                labels.lose("part that isn't there", f"{path} of {file.name}")
                continue
            if place.is_dir():
                files = sorted(p for p in place.rglob("*") if p.suffix.lower() in PICTURES)
            else:
                lines = [line.strip() for line in read_text(place).splitlines()]
                files = [_below(line, place.parent, pictures) for line in lines if line]
            for one in files:
                found[pictures.of(one)] = None
    if not found and absent:
        raise UserError(
            f"{file}: {absent} isn't below {pictures.folder}; give --images, the folder that it starts from"
        )
    if not found:
        raise UserError(f"{file}: there is no picture in its train, val and test; give --images, the folder above them")
    return list(found)


def _place(path: str, data: DataYaml, pictures: Pictures, file: Path) -> Path | None:
    """A part's folder or list, as Ultralytics looks for it: below `path`, and as if `../` weren't there; or None."""
    plain = path.replace("\\", "/")
    bases = [Path(data.path or "."), pictures.folder, pictures.folder / (data.path or "."), file.parent]
    for base in bases:
        for spelling in (plain, plain.removeprefix("../")):
            if (base / spelling).exists():
                return base / spelling
    return None


def _below(line: str, folder: Path, pictures: Pictures) -> Path:
    """A line of a list of pictures: from the list's folder where it begins with a dot, else from the data set's."""
    return folder / line if line.startswith("./") else pictures.folder / pictures.name(line)


def _read_picture(name: str, data: DataYaml, classes: dict[int, str], labels: Labels, pictures: Pictures) -> None:
    size = pictures.size(name)
    if size is None:
        labels.lose("picture that isn't there or can't be read, with its labels", name)
        return
    labels.picture(name, size, name)
    file = pictures.folder / _beside(name)
    if not file.is_file():
        return  # a picture of nothing
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if values := line.split():
            _read_line(values, name, f"{file}, line {number}", size, data, classes, labels)


def _beside(name: str) -> PurePosixPath:
    """The label file of a picture: the last folder `images` of its path is `labels` there."""
    parts = list(PurePosixPath(name).with_suffix(".txt").parts)
    places = [k for k, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return PurePosixPath(*parts)


def _read_line(
    values: list[str],
    name: str,
    place: str,
    size: tuple[int, int],
    data: DataYaml,
    classes: dict[int, str],
    labels: Labels,
) -> None:
    count, each = data.kpt_shape
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        raise UserError(f"{place}: not all of it are numbers; export it again") from None
    if len(numbers) == BOX:
        labels.lose("box without keypoints", name)
        return
    if len(numbers) != BOX + count * each:
        wanted = f"{BOX + count * each}, as kpt_shape [{count}, {each}] says"
        raise UserError(f"{place}: {len(numbers)} numbers, not {wanted}; export it again")
    if numbers[0] not in classes:
        raise UserError(f"{place}: class {values[0]} isn't one of names; export it again")
    category, (width, height) = classes[int(numbers[0])], size
    x, y, w, h = numbers[1:BOX]
    points = []
    for k, keypoint in enumerate(labels.skeletons[category].names):
        px, py, *v = numbers[BOX + k * each : BOX + (k + 1) * each]
        seen = v[0] if v else VISIBLE if min(px, py) >= 0 and max(px, py) > 0 else 0
        points.append((keypoint, px * width, py * height, seen))
    box = ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height)
    labels.add(category, name, points, box, place)
