"""Label Studio's own export, "JSON": tasks with regions in percent of the picture.

A keypoint belongs to the box that it lies under in the outliner, as Label Studio's own converters have it
(docs: guide/export, KeyPointLabels). The labelling interface, an XML file beside the export, has the keypoints' order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import BaseModel, Field

from capetune.datasets.labels.labels import HIDDEN, OBJECT, VISIBLE, Box, Labels
from capetune.datasets.labels.pictures import Pictures
from capetune.datasets.labels.reading import all_fitting, files, fitting, read_json, read_text, read_xml
from capetune.errors import UserError

UPLOADED = re.compile(r"[0-9a-f]{8}-")  # what Label Studio puts before an uploaded file's name
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
UNSEEN = {"occluded", "hidden", "invisible"}  # a region's own choice that says so


class Region(BaseModel):
    id: str = ""
    type: str = ""
    from_name: str = ""
    parent: str | None = Field(None, alias="parentID")
    original_width: int = 0
    original_height: int = 0
    image_rotation: float | None = None
    value: dict[str, Any] = {}


class Spot(BaseModel):
    """Of a keypoint, in percent."""

    x: float
    y: float
    keypointlabels: list[str] = []


class Area(BaseModel):
    """Of a box, in percent; rotation in degrees about its first corner."""

    x: float
    y: float
    width: float
    height: float
    rotation: float = 0
    rectanglelabels: list[str] = []


class Annotation(BaseModel):
    result: list[Region] = []
    was_cancelled: bool = False
    ground_truth: bool = False


class Task(BaseModel):
    data: dict[str, Any]
    annotations: list[Annotation]


def read_labelstudio(source: Path, pictures: Pictures) -> Labels:
    """A file, or a folder of them. A region with the choice "occluded", "hidden" or "invisible" is hidden.

    Of several annotations of a task the ground truth is taken, else the first. Raises UserError where a file isn't of
    that format.
    """
    labels, used = Labels(), _Used()
    for file in files(source, "*.json"):
        for number, task in enumerate(all_fitting(Task, read_json(file), file)):
            place = f"{file}, [{number}]"
            done = [annotation for annotation in task.annotations if not annotation.was_cancelled]
            done.sort(key=lambda annotation: not annotation.ground_truth)
            for _ in done[1:]:
                labels.lose("second annotation of a task", place)
            for annotation in done[:1]:
                _read_annotation(task, annotation, labels, used, pictures, place)
    orders = _interface(source if source.is_dir() else source.parent)
    if not orders:
        labels.note(
            "no labelling interface (an XML file) beside the export: keypoints are in the order of the first object "
            "that has most of them"
        )
    for category, controls in used.controls.items():
        seen = labels.skeleton(category).names
        ordered = [name for control in controls for name in orders.get(control, ())]
        others = {control for other, names in used.controls.items() if other != category for control in names}
        whole = [name for name in dict.fromkeys(ordered) if name in seen or not controls.keys() & others]
        labels.declare(category, [*whole, *(name for name in seen if name not in whole)], (), str(source))
    return labels


class _Used:
    """Which KeyPointLabels the keypoints of a category come from."""

    def __init__(self) -> None:
        self.controls: dict[str, dict[str, None]] = {}

    def hear(self, category: str, region: Region) -> None:
        self.controls.setdefault(category, {})[region.from_name] = None


def _read_annotation(
    task: Task, annotation: Annotation, labels: Labels, used: _Used, pictures: Pictures, place: str
) -> None:
    regions = annotation.result
    sized = [region for region in regions if region.original_width and region.original_height]
    if not sized:
        return
    width, height = sized[0].original_width, sized[0].original_height
    name = _picture(task.data, pictures, place)
    labels.picture(name, (width, height), place)
    if any(region.image_rotation for region in regions):
        labels.lose("picture turned in Label Studio, with its labels", name)
        return
    boxes = {region.id: region for region in regions if region.type.startswith("rectangle")}
    spots = [region for region in regions if region.type.startswith("keypoint")]
    unseen = {region.id for region in regions if UNSEEN & {str(c).lower() for c in _choices(region)}}
    for region in regions:
        if region.type not in ("choices", "rectangle", "keypoint", "rectanglelabels", "keypointlabels"):
            labels.lose(f"{region.type or 'region without a type'}: not a keypoint or box", name)
    objects: dict[str | None, list[tuple[str, float, float, int]]] = {id: [] for id in boxes}
    for region in spots:
        parent = region.parent if region.parent in boxes else next(iter(boxes)) if len(boxes) == 1 else None
        spot = fitting(Spot, region.value, f"{place}, region {region.id}")
        if parent is None and boxes:
            labels.lose("keypoint under none of several boxes", f"{_named(spot)} at {name}")
        else:
            v = HIDDEN if region.id in unseen else VISIBLE
            point = _named(spot), spot.x * width / 100, spot.y * height / 100, v
            objects.setdefault(parent, []).append(point)
            used.hear(_category(boxes.get(parent or "")), region)
    for id, points in objects.items():
        box = boxes.get(id or "")
        labels.add(_category(box), name, points, _box(box, width, height, labels, name) if box is not None else None)


def _choices(region: Region) -> list:
    given = region.value.get("choices", [])
    return given if isinstance(given, list) else []


def _named(spot: Spot) -> str:
    return spot.keypointlabels[0] if spot.keypointlabels else "keypoint"


def _category(box: Region | None) -> str:
    named = box.value.get("rectanglelabels") if box is not None else None
    return str(named[0]) if isinstance(named, list) and named else OBJECT


def _box(box: Region, width: int, height: int, labels: Labels, name: str) -> Box | None:
    area = fitting(Area, box.value, f"{name}, region {box.id}")
    if area.rotation:
        labels.lose("box that is turned", name)
        return None
    return area.x * width / 100, area.y * height / 100, area.width * width / 100, area.height * height / 100


def _picture(data: dict[str, Any], pictures: Pictures, place: str) -> str:
    """The name of the task's picture. Raises UserError where the task has none, or several."""
    paths = [path for value in data.values() if isinstance(value, str) for path in [_path(value)] if _is_picture(path)]
    if len(paths) != 1:
        raise UserError(f"{place}.data has {len(paths)} paths of pictures, not one; export tasks of one picture each")
    name = pictures.name(paths[0])
    bare = PurePosixPath(paths[0]).name
    if not pictures.has(name) and UPLOADED.match(bare):
        original = pictures.name(UPLOADED.sub("", bare, count=1))
        return original if pictures.has(original) else bare
    return name


def _path(value: str) -> str:
    """What a task calls its picture, as a path: an address's path, or what a local storage's address asks for."""
    parts = urlsplit(value)
    asked = parse_qs(parts.query).get("d")
    return asked[0] if asked else unquote(parts.path)


def _is_picture(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in PICTURES


def _interface(folder: Path) -> dict[str, list[str]]:
    """Keypoint names by the name of their KeyPointLabels, by `model_index` where all have one, else as they stand."""
    found: dict[str, list[str]] = {}
    for file in sorted(folder.glob("*.xml")):
        if "<View" not in read_text(file):
            continue
        for control in read_xml(file).iter("KeyPointLabels"):
            named = list(_labels(control))
            if all(index.isdigit() for index, _ in named):
                named.sort(key=lambda pair: int(pair[0]))
            found[control.get("name") or ""] = [name for _, name in named]
    return found


def _labels(control: Any) -> Iterator[tuple[str, str]]:
    for label in control.iter("Label"):
        yield label.get("model_index") or "", label.get("value") or ""
