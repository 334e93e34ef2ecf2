"""From an entry of an annotation file's categories to a category: its keypoints, its skeleton, its folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from capetune.datasets.mp100.catalogue import KEYPOINTS, known
from capetune.pose import Category, PoseGraph


def read_category(
    entry: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]], images: Mapping[int, Mapping[str, Any]]
) -> tuple[Category, int | None, list[str]] | None:
    """The category, the number its skeleton counts from (None without one), and the names of its quirks.

    annotations: those of the category. images: by id. None where neither the entry nor an annotation speaks of
    keypoints: a parent of other categories, or one of boxes only.
    """
    quirks: list[str] = []
    id, name, keypoints = entry["id"], entry["name"], entry.get("keypoints")
    official = known(id, name)
    if isinstance(keypoints, list) and keypoints:
        names = tuple(str(k) for k in keypoints)
        if len(set(names)) < len(names):
            quirks.append("keypoint name occurs twice")
    else:
        if isinstance(keypoints, int):
            size = keypoints
            quirks.append("keypoints given as a count")
        else:
            given = [a["keypoints"] for a in annotations if isinstance(a.get("keypoints"), list)]
            lengths = Counter(len(points) // 3 for points in given if points)
            if keypoints is None and not lengths:
                return None
            size = lengths.most_common(1)[0][0] if lengths else KEYPOINTS.get(id, 0) if official else 0
            quirks.append("keypoint names missing")
        names = tuple(str(k) for k in range(size))

    edges, base, odd = read_edges(entry.get("skeleton") or [], len(names))
    files = (images[a["image_id"]]["file_name"] for a in annotations if a["image_id"] in images)
    folders = Counter(file.split("/", 1)[0] for file in files if "/" in file and not leaves(file))
    folder = folders.most_common(1)[0][0] if folders else official.folder if official else name
    if folder != name:
        quirks.append("name differs from folder")
    if id > 100:
        quirks.append("id above 100: not in MP-100")
    above = entry.get("supercategory")
    above = above if isinstance(above, str) else ""
    return Category(id, name, folder, PoseGraph(names, edges), above), base, quirks + odd


def leaves(name: str) -> bool:
    """Whether an image's name leads out of the images folder."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts


def read_edges(skeleton: Any, size: int) -> tuple[tuple[tuple[int, int], ...], int | None, list[str]]:
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
        quirks.append(f"{bad} edge{'s' if bad > 1 else ''} dropped: not between the numbers of two keypoints")
    if len(edges) < good:
        quirks.append("edge listed twice")
    return tuple(sorted(edges)), base, quirks
