"""From an annotation to an instance, by the rules of the official loader: what is kept, what is dropped and why.

The rules are those of Xu et al. 2022, Pose for Everything. Beyond them, what can't be used is dropped too, and what an
annotation lacks and can do without is filled in; either is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from capetune.pose import Category, Instance

NO_BOX = "no box: made from the visible keypoints"
NO_PLACE = "unlabelled keypoint without coordinates"


class Dropped(Exception):
    """An annotation gives no instance. reason: why; detail: what more there is to say."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


def read_instance(
    annotation: Mapping[str, Any], image: Mapping[str, Any], categories: Mapping[int, Category]
) -> tuple[Instance, tuple[str, ...]]:
    """The instance, and what had to be filled in: NO_BOX, NO_PLACE or neither.

    An annotation without a box gets the smallest one around its visible keypoints, an unlabelled keypoint (v = 0) whose
    coordinates are null or not finite stands at (0, 0). Raises Dropped.
    """
    category = categories.get(annotation["category_id"])
    if category is None:
        raise Dropped("category not listed", f"category {annotation['category_id']}")
    if annotation.get("iscrowd", 0):
        raise Dropped("crowd")
    points, filled = _points(annotation.get("keypoints"))
    area, box = annotation.get("area", 1), _numbers(annotation.get("bbox"))
    if annotation.get("bbox") is None:
        box, filled = _box_around(points), (NO_BOX, *filled)
        area = 1
    if box is None or len(box) != 4:
        raise Dropped("box is not four finite numbers")
    if points is None:
        lacks = annotation.get("keypoints") is None
        raise Dropped("no keypoints given" if lacks else "keypoints are not triples of finite numbers")
    if box[2] < 0 or box[3] < 0:
        raise Dropped("negative box")
    clipped = clip_box(box.tolist(), image["width"], image["height"])
    if clipped[2] <= 0 or clipped[3] <= 0:
        raise Dropped("box empty after clipping")
    if not area > 0:
        raise Dropped("area not positive")
    visible = points[:, 2] > 0
    if annotation.get("num_keypoints", 1) == 0 and visible.any():
        raise Dropped("num_keypoints is 0, yet keypoints are visible", f"{np.count_nonzero(visible)} are visible")
    if points.max(initial=0) <= 0 or annotation.get("num_keypoints", 1) == 0:
        raise Dropped("no visible keypoints")
    if len(points) != category.graph.size:
        raise Dropped("number of keypoints differs from the category's", f"{len(points)} for {category.graph.size}")
    instance = Instance(
        id=annotation["id"],
        image_id=image["id"],
        category_id=category.id,
        file_name=image["file_name"],
        image_size=(image["width"], image["height"]),
        box=np.array(clipped, dtype=np.float64),
        xy=points[:, :2].copy(),
        visible=visible,
    )
    return instance, filled


def clip_box(box: Iterable[float], width: int, height: int) -> tuple[float, float, float, float]:
    """An xywh box in pixels, clipped to the image as the official loader does, one pixel narrower than it came.

    Width or height ≤ 0 in the result means nothing of it is left.
    """
    x, y, w, h = box
    x1, y1 = max(0, x), max(0, y)
    x2 = min(width - 1, x1 + max(0, w - 1))
    y2 = min(height - 1, y1 + max(0, h - 1))
    return x1, y1, x2 - x1, y2 - y1


def _box_around(points: np.ndarray | None) -> np.ndarray:
    """xywh of the pixels of the visible keypoints, as an annotated box counts them: both edges' pixels are inside."""
    seen = np.empty((0, 2)) if points is None else points[points[:, 2] > 0, :2]
    if len(seen) == 0 or (np.ptp(seen, axis=0) == 0).any():
        raise Dropped("no box, and too few visible keypoints to make one")
    low, high = seen.min(axis=0), seen.max(axis=0)
    return np.array([*low, *(high - low + 1)])


def _points(values: Any) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """float64 (K, 3), x, y, v, and NO_PLACE where one had no coordinates; None where they aren't triples of numbers."""
    array = _numbers(values, finite=False)
    if array is None or len(array) % 3:
        return None, ()
    points = array.reshape(-1, 3)
    known = np.isfinite(points)
    if known.all():
        return points, ()
    points[~known.any(axis=1), 2] = 0
    points[(points[:, 2] == 0) & ~known[:, :2].all(axis=1), :2] = 0
    return (points if np.isfinite(points).all() else None), (NO_PLACE,)


def _numbers(values: Any, finite: bool = True) -> np.ndarray | None:
    """float64 (N,), or None where `values` is no flat list of numbers. Not `finite`: null is one too, made NaN."""
    try:
        array = np.array(values)
        if array.dtype == object and not finite and all(v is None or type(v) in (int, float) for v in values):
            array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):  # ragged lists, integers beyond any float
        return None
    if array.ndim != 1 or array.dtype.kind not in "iuf" or (finite and not np.isfinite(array).all()):
        return None
    return array.astype(np.float64)
