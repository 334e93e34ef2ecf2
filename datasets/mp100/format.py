"""The format of an annotation file: loads one, and refuses what no later line could rely on."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from capetune.errors import UserError

MOST = 10_000  # keypoints of a category; more is a broken file, and would only fill the memory

SIZES = "each image needs its width and height in pixels, integers; `capetune data import` takes them from the pictures"

# By table: its fields, their types, and what to do where one is missing or of another type.
Field = tuple[type, str]
FIELDS: dict[str, dict[str, Field]] = {
    "images": {
        "id": (int, "each image needs an id of its own, an integer"),
        "file_name": (str, "each image needs its file's path below the images folder"),
        "width": (int, SIZES),
        "height": (int, SIZES),
    },
    "annotations": {
        "id": (int, "each annotation needs an id of its own, an integer; `capetune data import` makes them"),
        "image_id": (int, "each annotation needs the id of its image, an integer"),
        "category_id": (int, "each annotation needs the id of its category, an integer"),
    },
    "categories": {
        "id": (int, "each category needs an id of its own, an integer"),
        "name": (str, "each category needs a name"),
    },
}
NAMES = "each category needs the list of its keypoints' names"


def load_json(path: Path) -> dict[str, Any]:
    """The content of an annotation file, JSON or gzipped JSON, with the tables and fields that MP-100's have.

    Raises UserError, naming the file and a cure, where it can't be read, isn't in that format, or no annotation has
    keypoints.
    """
    try:
        raw = path.read_bytes()
        data = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give an annotation file") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder: give the JSON file in it, or see `capetune data import --help`") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} can't be read ({error}); check the file or download it again") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not JSON in UTF-8 ({error}); save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}); export or download it again") from None
    _check(data, path)
    return data


def _check(data: Any, path: Path) -> None:
    """Ids must be ints: a file that went through floats has merged some of them."""

    def need(holds: bool, what: str, cure: str) -> None:
        """What costs time to say is said where it doesn't hold only: a file has a hundred thousand entries."""
        if not holds:
            raise UserError(f"{path} is no annotation file of COCO's keypoint format: {what}; {cure}")

    need(isinstance(data, dict), "it holds no JSON object", "give a file of COCO's keypoint format")
    for table, fields in FIELDS.items():
        need(isinstance(data.get(table), list), f"it has no list {table!r}", f"it needs {', '.join(FIELDS)}")
        for row, entry in enumerate(data[table]):
            need(isinstance(entry, dict), f"{table}[{row}] is not an object", "give a file of COCO's keypoint format")
            for field, (kind, cure) in fields.items():
                if not isinstance(entry.get(field), kind) or isinstance(entry[field], bool):
                    need(False, _said(entry, field, table, row), cure)
    for row, entry in enumerate(data["categories"]):
        count = entry.get("keypoints")  # left out by parents of other categories
        if count is not None and type(count) not in (list, int):
            need(False, _said(entry, "keypoints", "categories", row), NAMES)
        need(type(count) is not int or 0 < count <= MOST, f"categories[{row}] has {count} keypoints", NAMES)
    for row, entry in enumerate(data["annotations"]):
        if type(entry.get("area", 1)) not in (int, float):
            need(False, _said(entry, "area", "annotations", row), "an area is a number, or left out")
    need(
        not data["annotations"] or any(entry.get("keypoints") is not None for entry in data["annotations"]),
        "no annotation has 'keypoints'",
        "each object needs one annotation with all its keypoints, x, y and v of each",
    )


def _said(entry: dict[str, Any], field: str, table: str, row: int) -> str:
    said = f"is {json.dumps(entry[field])[:40]}" if field in entry else "is missing"
    return f"{field!r} of {table}[{row}] {said}"
