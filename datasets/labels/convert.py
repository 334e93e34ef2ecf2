"""From what an annotation tool exported to one COCO file that `data pack --coco` takes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capetune.datasets.labels.coco import read_coco
from capetune.datasets.labels.cvat import read_cvat
from capetune.datasets.labels.deeplabcut import read_deeplabcut
from capetune.datasets.labels.guess import Format, guess
from capetune.datasets.labels.labelme import read_labelme
from capetune.datasets.labels.labels import Labels, Skeleton
from capetune.datasets.labels.labelstudio import read_labelstudio
from capetune.datasets.labels.pictures import Pictures
from capetune.datasets.labels.sleap import read_sleap
from capetune.datasets.labels.yolo import read_yolo
from capetune.errors import UserError
from capetune.storage.whole import whole

ANNOTATIONS, IMAGES = "annotations.json", "images"


@dataclass(frozen=True)
class Converted:
    """file: the COCO file. images: the folder that its pictures' names start from. guessed: the format wasn't given.

    skeletons: by category, those with objects. objects: how many, by category. pictures: how many. absent: names of
    those that aren't in that folder. shared: of those that several files or tasks name. lost: by reason, the places.
    notes: lines of what was assumed.
    """

    file: Path
    images: Path
    format: str
    guessed: bool
    skeletons: Mapping[str, Skeleton]
    objects: Mapping[str, int]
    pictures: int
    absent: tuple[str, ...]
    shared: tuple[str, ...]
    lost: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]


def convert(source: Path, out: Path, format: Format | None = None, images: Path | None = None) -> Converted:
    """Read a tool's file, or the folder that it exported, and write `annotations.json` into the new folder `out`, and
    `images/` where the pictures have to be taken out of videos.

    format: None = as the files show. images: the folder to look for pictures in; None = the source's. Ids are made.
    Raises UserError where the source can't be read, holds no keypoints, or `out` exists.
    """
    if not source.exists():
        raise UserError(f"{source} doesn't exist; give the file or folder that the tool exported")
    if out.exists():
        raise UserError(f"{out} exists already: remove it or give another --out")
    if images is not None and not images.is_dir():
        raise UserError(f"{images} is not a folder: give the one that holds the images")
    chosen = format or guess(source)
    pictures = Pictures(images or (source if source.is_dir() else source.parent))
    with whole(out) as aside:
        labels = _read(chosen, source, pictures, aside)
        objects = Counter(one.category for one in labels.objects)
        if not objects:
            told = ", ".join(f"{what} ×{len(places)}" for what, places in labels.lost.items())
            held = f" ({told})" if told else ""
            raise UserError(f"{source} holds no object with keypoints{held}; label some and export again")
        skeletons = {category: labels.skeleton(category) for category in objects}
        (aside / ANNOTATIONS).write_text(json.dumps(_coco(labels, skeletons, chosen), ensure_ascii=False), "utf-8")
        extracted = (aside / IMAGES).is_dir()
    if extracted:
        pictures = Pictures(out / IMAGES)
    return Converted(
        out / ANNOTATIONS,
        pictures.folder,
        chosen,
        format is None,
        skeletons,
        objects,
        len(labels.images),
        tuple(name for name in labels.images if not pictures.has(name)),
        tuple(labels.shared),
        {what: tuple(places) for what, places in labels.lost.items()},
        tuple(labels.notes),
    )


def _read(format: Format, source: Path, pictures: Pictures, out: Path) -> Labels:
    match format:
        case "coco":
            return read_coco(source, pictures)
        case "cvat":
            return read_cvat(source, pictures, out / IMAGES)
        case "labelstudio":
            return read_labelstudio(source, pictures)
        case "labelme":
            return read_labelme(source, pictures)
        case "yolo":
            return read_yolo(source, pictures)
        case "dlc":
            return read_deeplabcut(source, pictures)
        case "sleap":
            return read_sleap(source, pictures, out / IMAGES)


def _coco(labels: Labels, skeletons: Mapping[str, Skeleton], format: str) -> dict[str, Any]:
    """Ids count from 1, edges too. An object without a box has none: `pack` makes one and says so."""
    categories = {name: id for id, name in enumerate(skeletons, start=1)}
    images = {name: id for id, name in enumerate(labels.images, start=1)}
    annotations = []
    for id, one in enumerate(labels.objects, start=1):
        points = [one.points.get(name, (0, 0, 0)) for name in skeletons[one.category].names]
        box = {} if one.box is None else {"bbox": list(one.box), "area": one.box[2] * one.box[3]}
        annotations.append(
            {
                "id": id,
                "image_id": images[one.image],
                "category_id": categories[one.category],
                "keypoints": [value for point in points for value in point],
                "num_keypoints": len(one.points),
                "iscrowd": 0,
                **box,
            }
        )
    return {
        "info": {"description": f"from {format}, by capetune data import"},
        "images": [
            {"id": images[name], "file_name": name, "width": width, "height": height}
            for name, (width, height) in labels.images.items()
        ],
        "annotations": annotations,
        "categories": [
            {
                "id": categories[name],
                "name": name,
                "keypoints": list(skeleton.names),
                "skeleton": [[i + 1, j + 1] for i, j in skeleton.edges],
            }
            for name, skeleton in skeletons.items()
        ],
    }
