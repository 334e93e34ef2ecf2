"""COCO's keypoint format as tools export it, where `data pack --coco` wants more: ids, sizes, one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from capetune.datasets.labels.labels import Labels
from capetune.datasets.labels.pictures import Pictures
from capetune.datasets.labels.reading import files, fitting, read_json
from capetune.datasets.mp100.category import read_edges
from capetune.errors import UserError

Id = int | str


class Image(BaseModel):
    id: Id
    file_name: str
    width: int | None = None
    height: int | None = None


class Annotation(BaseModel):
    image_id: Id
    category_id: Id
    keypoints: list[float | None] | None = None
    bbox: list[float] | None = None
    iscrowd: int = 0
    segmentation: Any = None


class Category(BaseModel):
    id: Id
    name: str
    keypoints: list[str] | None = None
    skeleton: Any = None


class Tree(BaseModel):
    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category]


def read_coco(source: Path, pictures: Pictures) -> Labels:
    """A file, or a folder of them. Raises UserError where a file isn't of that format."""
    labels = Labels()
    for file in files(source, "*.json", "annotations/*.json"):
        tree = fitting(Tree, read_json(file), file)
        names = _categories(tree, labels, file)
        images = _images(tree, labels, pictures, file)
        for row, one in enumerate(tree.annotations):
            place = f"{file}, annotations[{row}]"
            if one.image_id not in images or one.category_id not in names:
                what = "an image" if one.image_id not in images else "a category"
                labels.lose(f"annotation of {what} that isn't listed", place)
            elif images[one.image_id] is not None:
                _read_annotation(one, names[one.category_id], str(images[one.image_id]), labels, place)
    return labels


def _categories(tree: Tree, labels: Labels, file: Path) -> dict[Id, str]:
    """Their names by id. Without names of keypoints these are numbered."""
    names: dict[Id, str] = {}
    for category in tree.categories:
        if category.id in names:
            raise UserError(f"{file}: category id {category.id} stands twice; export it again")
        names[category.id] = category.name
        lengths = [len(a.keypoints) // 3 for a in tree.annotations if a.category_id == category.id and a.keypoints]
        keypoints = category.keypoints or [str(k) for k in range(max(lengths, default=0))]
        if keypoints:
            edges, _, odd = read_edges(category.skeleton or [], len(keypoints))
            for quirk in odd:
                labels.note(f"{category.name}: {quirk}")
            labels.declare(category.name, keypoints, edges, str(file))
    return names


def _images(tree: Tree, labels: Labels, pictures: Pictures, file: Path) -> dict[Id, str | None]:
    """Their names by id; None where the size isn't known."""
    found: dict[Id, str | None] = {}
    for image in tree.images:
        if image.id in found:
            raise UserError(f"{file}: image id {image.id} stands twice; export it again")
        name = pictures.name(image.file_name)
        size = (image.width, image.height) if image.width and image.height else pictures.size(name)
        if size is None:
            labels.lose("picture without a size that isn't there or can't be read, with its labels", name)
        else:
            labels.picture(name, size, str(file))
        found[image.id] = name if size else None
    return found


def _read_annotation(one: Annotation, category: str, image: str, labels: Labels, place: str) -> None:
    names = labels.skeletons[category].names if category in labels.skeletons else ()
    values = [float("nan") if value is None else value for value in one.keypoints or []]
    if one.iscrowd or not values:
        labels.lose("crowd" if one.iscrowd else "annotation without keypoints", image)
        return
    if len(values) != 3 * len(names):
        raise UserError(f"{place}: {len(values)} numbers for {len(names)} keypoints of {category!r}; export it again")
    if one.bbox is not None and len(one.bbox) != 4:
        raise UserError(f"{place}: bbox has {len(one.bbox)} numbers, not 4; export it again")
    if one.segmentation:
        labels.lose("outline of an object", image)
    points = [(name, *values[3 * k : 3 * k + 3]) for k, name in enumerate(names)]
    box = (one.bbox[0], one.bbox[1], one.bbox[2], one.bbox[3]) if one.bbox else None
    labels.add(category, image, points, box)  # type: ignore[arg-type]
