"""Reads the annotation files of MP-100 as they really are, and says what was odd or dropped.

An instance is what the official loader makes of an annotation (Xu et al. 2022, Pose for Everything): same box, same
rule of what is kept, same order. The order matters, for the official pairs are drawn by position.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO

from capetune.datasets.mp100.catalogue import KEYPOINTS, known
from capetune.datasets.mp100.quirks import annotation_quirks
from capetune.errors import UserError
from capetune.pose import PARTS, SPLITS, Category, Instance, Part, PoseGraph

FILE_NAME = re.compile(r"mp100_split([1-5])_(train|val|test)\.json(\.gz)?")
CURE = "use the annotation file as the authors of MP-100 publish it"
MOST = 10_000  # keypoints of a category; more is a broken file, and would only fill the memory
Key = tuple[int, str]


@dataclass(frozen=True)
class Finding:
    """Something worth a line in the doctor's report. annotation: its id, or None where it is about the category."""

    category: int
    reason: str
    annotation: int | None = None


@dataclass(frozen=True, eq=False)
class Reading:
    """One file, read. dropped: annotations that gave no instance and why. quirks: oddities of what was kept.

    bases: number the category's skeleton counts from, 0 or 1, None where it has no skeleton; a key for each category.
    """

    path: Path
    part: Part
    dropped: tuple[Finding, ...]
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
    says. UserError, naming the file and a cure, where it is unreadable or not in MP-100's format.
    """
    path = Path(path)
    data = load_json(path)
    index = COCO()
    index.dataset = data
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        index.createIndex()

    dropped: list[Finding] = []
    quirks: list[Finding] = []
    bases: dict[int, int | None] = {}
    categories: dict[int, Category] = {}
    names = Counter(entry["name"] for entry in index.cats.values())
    annotations = defaultdict(list)
    for annotation in data["annotations"]:
        annotations[annotation["category_id"]].append(annotation)
    for entry in data["categories"]:
        if entry["id"] in categories:
            quirks.append(Finding(entry["id"], "category listed twice"))
            continue
        category, bases[entry["id"]], noted = _category(entry, annotations[entry["id"]], index.imgs)
        if names[entry["name"]] > 1:
            noted.append("name shared by two categories")
        categories[category.id] = category
        quirks += [Finding(category.id, reason) for reason in noted]

    instances: dict[int, list[Instance]] = {id: [] for id in categories}
    seen: set[int] = set()
    for image in index.imgs.values():
        neighbours = index.imgToAnns.get(image["id"], [])
        for annotation in neighbours:
            made = "id occurs twice" if annotation["id"] in seen else _instance(annotation, image, categories)
            seen.add(annotation["id"])
            if isinstance(made, str):
                dropped.append(Finding(annotation["category_id"], made, annotation["id"]))
                continue
            instances[made.category_id].append(made)
            quirks += [
                Finding(made.category_id, q, made.id) for q in annotation_quirks(annotation, len(neighbours), made)
            ]
    for annotation in data["annotations"]:
        if annotation["image_id"] not in index.imgs:
            dropped.append(Finding(annotation["category_id"], "image not listed", annotation["id"]))

    if synthetic is None:
        info = data.get("info")
        synthetic = isinstance(info, dict) and info.get("capetune") == "synthetic"
    groups = {id: tuple(group) for id, group in instances.items()}
    quirks += [Finding(id, "listed but empty") for id, group in groups.items() if not group]
    result = Part(split, part, tuple(categories.values()), groups, synthetic)
    return Reading(path, result, tuple(dropped), tuple(quirks), bases)


def clip_box(box: Iterable[float], width: int, height: int) -> tuple[float, float, float, float]:
    """An xywh box in pixels, clipped to the image as the official loader does, one pixel narrower than it came.

    Width or height ≤ 0 in the result means nothing of it is left.
    """
    x, y, w, h = box
    x1, y1 = max(0, x), max(0, y)
    x2 = min(width - 1, x1 + max(0, w - 1))
    y2 = min(height - 1, y1 + max(0, h - 1))
    return x1, y1, x2 - x1, y2 - y1


def _instance(annotation: dict[str, Any], image: dict[str, Any], categories: Mapping[int, Category]) -> Instance | str:
    """The instance, or the reason why the official rule (or plain necessity) drops the annotation."""
    category = categories.get(annotation["category_id"])
    if category is None:
        return "category not listed"
    if annotation.get("iscrowd", 0):
        return "crowd"
    box, keypoints = _numbers(annotation.get("bbox")), _numbers(annotation.get("keypoints"))
    if box is None or len(box) != 4:
        return "box is not four finite numbers"
    if keypoints is None or len(keypoints) % 3:
        return "keypoints are not triples of finite numbers"
    if box[2] < 0 or box[3] < 0:
        return "negative box"
    clipped = clip_box(box.tolist(), image["width"], image["height"])
    if clipped[2] <= 0 or clipped[3] <= 0:
        return "box empty after clipping"
    if not annotation.get("area", 1) > 0:
        return "area not positive"
    if keypoints.max(initial=0) <= 0 or annotation.get("num_keypoints", 1) == 0:
        return "no visible keypoints"
    if len(keypoints) != 3 * category.graph.size:
        return "number of keypoints differs from the category's"
    points = keypoints.reshape(-1, 3)
    return Instance(
        id=annotation["id"],
        image_id=image["id"],
        category_id=category.id,
        file_name=image["file_name"],
        image_size=(image["width"], image["height"]),
        box=np.array(clipped, dtype=np.float64),
        xy=points[:, :2].copy(),
        visible=points[:, 2] > 0,
    )


def _category(
    entry: dict[str, Any], annotations: list[dict[str, Any]], images: Mapping[int, dict[str, Any]]
) -> tuple[Category, int | None, list[str]]:
    """The category, the base of its skeleton (None without one), and the names of its quirks."""
    quirks: list[str] = []
    id, name, keypoints = entry["id"], entry["name"], entry["keypoints"]
    official = known(id, name)
    if isinstance(keypoints, list) and keypoints:
        names = tuple(str(k) for k in keypoints)
    else:
        if isinstance(keypoints, int):
            size = keypoints
            quirks.append("keypoints given as a count")
        else:
            lengths = Counter(len(a["keypoints"]) // 3 for a in annotations if isinstance(a.get("keypoints"), list))
            size = lengths.most_common(1)[0][0] if lengths else KEYPOINTS.get(id, 0) if official else 0
            quirks.append("keypoint names missing")
        names = tuple(str(k) for k in range(size))

    edges, base, odd = _edges(entry.get("skeleton") or [], len(names))
    files = (images[a["image_id"]]["file_name"] for a in annotations if a["image_id"] in images)
    folders = Counter(file.split("/", 1)[0] for file in files if "/" in file)
    folder = folders.most_common(1)[0][0] if folders else official.folder if official else name
    if folder != name:
        quirks.append("name differs from folder")
    if id > 100:
        quirks.append("id above 100: not in MP-100")
    return Category(id, name, folder, PoseGraph(names, edges)), base, quirks + odd


def _edges(skeleton: Any, size: int) -> tuple[tuple[tuple[int, int], ...], int | None, list[str]]:
    """Edges zero-based, i < j, each once, sorted; the base the skeleton was written in; quirks."""
    if not isinstance(skeleton, list):
        return (), None, ["skeleton unreadable"]
    pairs = [e for e in skeleton if isinstance(e, list) and len(e) == 2 and all(type(i) is int for i in e)]
    if not pairs:
        return (), None, ["skeleton unreadable"] if skeleton else []
    base = 0 if any(0 in pair for pair in pairs) else 1
    quirks = ["skeleton counts from 0"] if base == 0 else []
    shifted = [(min(pair) - base, max(pair) - base) for pair in pairs]
    edges = {(i, j) for i, j in shifted if 0 <= i < j < size}
    good = sum(0 <= i < j < size for i, j in shifted)
    if bad := len(skeleton) - good:
        quirks.append(f"{bad} edge{'s' if bad > 1 else ''} out of range dropped")
    if len(edges) < good:
        quirks.append("edge listed twice")
    return tuple(sorted(edges)), base, quirks


def _numbers(values: Any) -> np.ndarray | None:
    """float64 (N,), or None where `values` is not a flat list of finite numbers."""
    try:
        array = np.array(values)
    except (TypeError, ValueError):  # ragged lists
        return None
    if array.ndim != 1 or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        return None
    return array.astype(np.float64)


def load_json(path: Path) -> dict[str, Any]:
    """The content of an annotation file, with the tables and fields that MP-100's have. UserError as `read_file`."""
    try:
        raw = path.read_bytes()
        data = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give an annotation file of MP-100") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} can't be read ({error}); check the file or download it again") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}); download it again") from None
    _check(data, path)
    return data


def _check(data: Any, path: Path) -> None:
    """What every later line relies on. Ids must be ints: a file that went through floats has merged some of them."""

    def need(holds: bool, what: str) -> None:
        if not holds:
            raise UserError(f"{path} is not an MP-100 annotation file: {what}; {CURE}")

    need(isinstance(data, dict), "it holds no JSON object")
    wanted: dict[str, dict[str, Any]] = {
        "images": {"id": int, "file_name": str, "width": int, "height": int},
        "annotations": {"id": int, "image_id": int, "category_id": int},
        "categories": {"id": int, "name": str, "keypoints": (list, int)},
    }
    for table, fields in wanted.items():
        need(isinstance(data.get(table), list), f"it has no list {table!r}")
        for row, entry in enumerate(data[table]):
            need(isinstance(entry, dict), f"{table}[{row}] is not an object")
            for field, kind in fields.items():
                value = entry.get(field)
                if not isinstance(value, kind) or isinstance(value, bool):
                    said = f"is {json.dumps(value)[:40]}" if field in entry else "is missing"
                    need(False, f"{field!r} of {table}[{row}] {said}")
            count = entry.get("keypoints")
            need(
                table != "categories" or type(count) is list or 0 < count <= MOST,
                f"{table}[{row}] has {count} keypoints",
            )
            area = entry.get("area", 1.0)
            need(type(area) in (int, float), f"'area' of {table}[{row}] is {json.dumps(area)[:40]}")
