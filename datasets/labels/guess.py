"""Which tool wrote a file, told by the file itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

from capetune.datasets.labels.reading import read_json
from capetune.errors import UserError

Format = Literal["coco", "cvat", "labelstudio", "labelme", "yolo", "dlc", "sleap"]
CURE = "say which with --format"


def guess(source: Path) -> Format:
    """The format of a file, or the one that files of a folder have, else of its folders. Raises UserError where that
    isn't one."""
    if source.is_file():
        found = {_of(source)} - {None}
    else:
        found = _within(source, "*") or _within(source, "*/*") or _within(source, "*/*/*")
    if len(found) == 1:
        return cast(Format, found.pop())
    what = f"may be {' or '.join(sorted(map(str, found)))}" if found else "is of no format that is known by its looks"
    raise UserError(f"{source} {what}: {CURE}")


def _within(folder: Path, pattern: str) -> set[str | None]:
    return {_of(path) for path in sorted(folder.glob(pattern)) if path.is_file()} - {None}


def _of(file: Path) -> str | None:
    match file.suffix.lower():
        case ".xml":
            return "cvat" if "<annotations" in _head(file) else None
        case ".slp":
            return "sleap"
        case ".csv":
            return "dlc" if _head(file).startswith("scorer,") else None
        case ".yaml" | ".yml":
            text = _head(file)
            return "yolo" if "kpt_shape" in text else "dlc" if "bodyparts:" in text else None
        case ".json":
            return _of_json(read_json(file))
    return None


def _of_json(tree: Any) -> str | None:
    if isinstance(tree, dict):
        return "labelme" if "shapes" in tree else "coco" if {"images", "annotations"} <= tree.keys() else None
    tasks = isinstance(tree, list) and tree and all(isinstance(task, dict) and "data" in task for task in tree)
    return "labelstudio" if tasks else None


def _head(file: Path) -> str:
    """Its beginning, without a byte order mark."""
    with file.open("rb") as stream:
        return stream.read(20_000).decode("utf-8", "replace").lstrip("\ufeff")
