"""Reads the annotation files of MP-100 as they really are, and says what was dropped, doubtful or odd.

An instance is what the official loader makes of an annotation (Xu et al. 2022, Pose for Everything): same box, same
rule of what is kept, same order. The order matters, for the official pairs are drawn by position.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pycocotools.coco import COCO

from capetune.datasets.mp100.category import read_category
from capetune.datasets.mp100.findings import Finding, counted, listed
from capetune.datasets.mp100.format import load_json
from capetune.datasets.mp100.instance import Dropped, read_instance
from capetune.datasets.mp100.quirks import annotation_doubts, annotation_quirks
from capetune.errors import UserError
from capetune.pose import PARTS, SPLITS, Category, Instance, Part

FILE_NAME = re.compile(r"mp100_split([1-5])_(train|val|test)\.json(\.gz)?")
SKIPPED = "category without keypoints: skipped"
OWN = {"split": "capetune"}  # in the info of files that capetune split anew
Key = tuple[int, str]


@dataclass(frozen=True, eq=False)
class Reading:
    """One file, read. dropped: annotations that gave no instance and why. doubts: what is kept, but may be wrong.
    quirks: harmless oddities of what is kept.

    bases: number the category's skeleton counts from, 0 or 1, None where it has no skeleton; a key for each category.
    """

    path: Path
    part: Part
    dropped: tuple[Finding, ...]
    doubts: tuple[Finding, ...]
    quirks: tuple[Finding, ...]
    bases: Mapping[int, int | None]


def find_files(folder: Path) -> dict[Key, Path]:
    """The MP-100 annotation files directly in a folder, by (split, part), in the order of splits and parts.

    A plain .json is taken before a .json.gz of the same name. UserError where there is none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the one with mp100_split1_train.json and its like")
    found: dict[Key, Path] = {}
    for path in sorted(folder.iterdir()):
        match = FILE_NAME.fullmatch(path.name)
        if match and path.is_file():
            found.setdefault((int(match[1]), match[2]), path)  # "x.json" sorts before "x.json.gz"
    if not found:
        nested = folder / "annotations"
        near = next((p for p in nested.glob("mp100_split*.json*")), None) if nested.is_dir() else None
        cure = f"did you mean {nested}?" if near else "give the folder that holds the annotation files of MP-100"
        raise UserError(f"no mp100_split{{1..5}}_{{train,val,test}}.json or .json.gz in {folder}; {cure}")
    return {key: found[key] for key in ((s, p) for s in SPLITS for p in PARTS) if key in found}


def unread(folder: Path) -> list[str]:
    """One line of a folder's .json and .json.gz files that `find_files` leaves alone; none where there are none."""
    taken = set(find_files(folder).values())
    others = [p.name for p in sorted(Path(folder).iterdir()) if p.name.endswith((".json", ".json.gz")) and p.is_file()]
    names = [name for name in others if Path(folder) / name not in taken]
    return [f"{counted(len(names), 'json file')} of other names, not read: {listed(names)}"] if names else []


def read_part(path: Path, split: int, part: str, synthetic: bool | None = None) -> Part:
    """The part in one file; see `read_file`."""
    return read_file(path, split, part, synthetic).part


def read_folder(folder: Path) -> dict[Key, Reading]:
    """Every MP-100 file of a folder, read; a category is the same object of type Category in each.

    A file that lists a category without annotations may not tell its folder or K; another one of the folder does.
    """
    readings = {key: read_file(path, *key) for key, path in find_files(folder).items()}
    informed: dict[int, Category] = {}
    for reading in readings.values():
        for category in reading.part.categories:
            if reading.part.instances[category.id]:
                informed.setdefault(category.id, category)
    for key, reading in readings.items():
        part = reading.part
        same = tuple(c if part.instances[c.id] else informed.get(c.id, c) for c in part.categories)
        readings[key] = replace(reading, part=replace(part, categories=same))
    return readings


def read_file(path: Path, split: int, part: str, synthetic: bool | None = None) -> Reading:
    """One annotation file, JSON or gzipped JSON.

    Instances stand in file order of the images, then of their annotations. synthetic: None = as the file's own info
    says. An image id that stands for several pictures gives no instance: nobody knows which one is meant. UserError,
    naming the file and a cure, where it is unreadable or not in MP-100's format.
    """
    path = Path(path)
    data = load_json(path)
    index = COCO()
    index.dataset = data
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        index.createIndex()
    reader = _Reader(data, index.imgs)
    reader.read_categories()
    for image in index.imgs.values():
        reader.read_image(image, index.imgToAnns.get(image["id"], []))
    reader.say_unlisted()

    info = data["info"] if isinstance(data.get("info"), dict) else {}
    if synthetic is None:
        synthetic = info.get("capetune") == "synthetic"
    groups = {id: tuple(group) for id, group in reader.instances.items()}
    reader.quirks += [Finding(id, "listed but empty") for id, group in groups.items() if not group]
    own = OWN.items() <= info.items()
    result = Part(split, part, tuple(reader.categories.values()), groups, synthetic, own=own)
    return Reading(path, result, tuple(reader.dropped), tuple(reader.doubts), tuple(reader.quirks), reader.bases)


class _Reader:
    """What has been made of one file so far."""

    def __init__(self, data: Mapping[str, Any], images: Mapping[int, dict[str, Any]]) -> None:
        self.data, self.images = data, images
        self.categories: dict[int, Category] = {}
        self.bases: dict[int, int | None] = {}
        self.instances: dict[int, list[Instance]] = {}
        self.dropped: list[Finding] = []
        self.doubts: list[Finding] = []
        self.quirks: list[Finding] = []
        self._seen: set[int] = set()  # ids of annotations
        self._skipped: set[int] = set()  # categories
        self._pictures: dict[int, list[tuple[str, int, int]]] = defaultdict(list)  # by image id, as often as listed
        for image in data["images"]:
            self._pictures[image["id"]].append((image["file_name"], image["width"], image["height"]))

    def read_categories(self) -> None:
        entries = {entry["id"]: entry for entry in reversed(self.data["categories"])}
        names = Counter(entry["name"] for entry in entries.values())
        annotations = defaultdict(list)
        for annotation in self.data["annotations"]:
            annotations[annotation["category_id"]].append(annotation)
        for entry in self.data["categories"]:
            id = entry["id"]
            if id in self.categories or id in self._skipped:
                if entry == entries[id]:
                    self.quirks.append(Finding(id, "category listed twice"))
                else:
                    self.doubts.append(Finding(id, "category id of several categories: the first is taken"))
                continue
            made = read_category(entry, annotations[id], self.images)
            if made is None:
                self._skipped.add(id)
                self.doubts.append(Finding(id, SKIPPED, detail=entry["name"]))
                continue
            self.categories[id], self.bases[id], noted = made
            self.instances[id] = []
            if names[entry["name"]] > 1:
                noted.append("name shared by two categories")
            self.quirks += [Finding(id, reason) for reason in noted]

    def read_image(self, image: Mapping[str, Any], annotations: list[dict[str, Any]]) -> None:
        entries = self._pictures[image["id"]]
        pictures = list(dict.fromkeys(entries))
        for annotation in annotations:
            id, category = annotation["id"], annotation["category_id"]
            try:
                if len(pictures) > 1:
                    raise Dropped("image id of several pictures", f"image {image['id']}: {_told(pictures)}")
                if id in self._seen:
                    raise Dropped("id occurs twice", image["file_name"])
                self._seen.add(id)
                if category in self._skipped:
                    raise Dropped("category without keypoints", f"category {category}")
                instance, filled = read_instance(annotation, image, self.categories)
            except Dropped as why:
                self.dropped.append(Finding(category, why.reason, id, detail=why.detail))
                continue
            self.instances[category].append(instance)
            doubts = annotation_doubts(annotation, instance, filled)
            self.doubts += [Finding(category, reason, id, detail=detail) for reason, detail in doubts]
            quirks = annotation_quirks(annotation, len(annotations), instance, filled)
            self.quirks += [Finding(category, reason, id) for reason in quirks]
            if len(entries) > 1:
                self.quirks.append(Finding(category, "image listed twice", id))

    def say_unlisted(self) -> None:
        """Annotations of images that the file doesn't list."""
        for annotation in self.data["annotations"]:
            if (image := annotation["image_id"]) not in self.images:
                dropped = Finding(
                    annotation["category_id"], "image not listed", annotation["id"], detail=f"image {image}"
                )
                self.dropped.append(dropped)


def _told(pictures: list[tuple[str, int, int]]) -> str:
    names = list(dict.fromkeys(name for name, _, _ in pictures))
    return " and ".join(names if len(names) > 1 else [f"{name} {width}×{height}" for name, width, height in pictures])
