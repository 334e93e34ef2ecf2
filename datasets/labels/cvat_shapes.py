"""The shapes of CVAT's XML files, of images and of tracks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from xml.etree import ElementTree

from capetune.datasets.labels.labels import HIDDEN, VISIBLE, Box
from capetune.errors import UserError

Element = ElementTree.Element


def read_points(skeleton: Element, place: str) -> list[tuple[str, float, float, float]]:
    """Name, x, y and v of its keypoints: one that is `outside` is unlabelled, `occluded` is hidden. Raises UserError
    where one has no place."""
    points = []
    for point in skeleton.iterfind("points"):
        x, y = _pair(point, place)
        hidden = HIDDEN if point.get("occluded") == "1" else VISIBLE
        points.append((point.get("label") or "", x, y, 0.0 if point.get("outside") == "1" else hidden))
    return points


def _pair(point: Element, place: str) -> tuple[float, float]:
    try:
        x, y = (float(value) for value in point.get("points", "").split(","))
    except ValueError:
        said = f"keypoint {point.get('label')!r} has points={point.get('points')!r}"
        raise UserError(f"{place}: {said}, not one x,y; export it again") from None
    return x, y


def read_box(box: Element, place: str) -> Box:
    """Raises UserError where a side is no number."""
    left, top, right, bottom = (number(box.attrib, side, place) for side in ("xtl", "ytl", "xbr", "ybr"))
    return left, top, right - left, bottom - top


def number(fields: Mapping[str, str], name: str, place: str) -> float:
    """A finite one. Raises UserError where it isn't."""
    try:
        found = float(fields[name])
    except (KeyError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise UserError(f"{place}: {name} is {fields.get(name)!r}, no number; export it again")
    return found
