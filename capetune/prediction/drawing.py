"""Poses drawn on pictures: what a person looks at to see whether they are right."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from capetune.pose import PoseGraph

PAPER = 250
SMALL = 900  # a picture's longer side up to which it is enlarged before it is drawn on
SIDE = 480  # of a template's picture, pixels
INK = (20, 20, 20)


def keypoint_colours(count: int) -> np.ndarray:
    """As many distinct bright colours, in the order of the hues. uint8 (count, 3) RGB."""
    hues = np.arange(count) * 180 // max(1, count)  # cv2 counts hues to 180
    hsv = np.stack([hues, np.full(count, 230), np.full(count, 255)], axis=1).astype(np.uint8)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]


def draw_pose(
    image: np.ndarray,
    xy: np.ndarray,
    drawn: np.ndarray,
    graph: PoseGraph,
    size: int = 3,
    sure: np.ndarray | None = None,
) -> None:
    """Draw a skeleton over `image`, uint8 (H, W, 3) RGB, in place.

    xy: (K, 2) pixels. drawn: bool (K,), True = shown, and edges between two such. size: a keypoint's radius, pixels.
    sure: bool (K,), False = as a ring.
    """
    colours = keypoint_colours(graph.size)
    for i, j in graph.edges:
        if drawn[i] and drawn[j]:
            colour = (colours[i].astype(int) + colours[j]) // 2
            cv2.line(image, fixed(xy[i]), fixed(xy[j]), _rgb(colour), max(1, size - 1), cv2.LINE_AA, shift=4)
    for k in np.flatnonzero(drawn):
        cv2.circle(image, fixed(xy[k]), (size + 1) << 4, (0, 0, 0), -1, cv2.LINE_AA, shift=4)
        cv2.circle(image, fixed(xy[k]), size << 4, _rgb(colours[k]), -1, cv2.LINE_AA, shift=4)
        if sure is not None and not sure[k]:
            cv2.circle(image, fixed(xy[k]), max(1, size - 1) << 4, (0, 0, 0), -1, cv2.LINE_AA, shift=4)


def overlay(
    image: np.ndarray, poses: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], graph: PoseGraph
) -> np.ndarray:
    """A copy of a picture, uint8 (H, W, 3) RGB, with poses drawn on it; a small one is enlarged by a whole number.

    poses: of each object its box, (4,) xywh, and keypoints, (K, 2), in pixels, and which are sure, bool (K,).
    """
    times = max(1, SMALL // max(image.shape[:2]))
    drawn = cv2.resize(image, None, fx=times, fy=times, interpolation=cv2.INTER_LINEAR) if times > 1 else image.copy()
    for box, xy, sure in poses:
        corner, end = ((point + 0.5) * times - 0.5 for point in (box[:2], box[:2] + box[2:]))
        cv2.rectangle(drawn, fixed(corner), fixed(end), (255, 255, 255), 1, cv2.LINE_AA, shift=4)
        size = int(np.clip(times * box[2:].max() / 100, 2, 10))
        draw_pose(drawn, (xy + 0.5) * times - 0.5, np.ones(len(xy), dtype=bool), graph, size, sure)
    return drawn


def draw_template(xy: np.ndarray, known: np.ndarray, graph: PoseGraph) -> np.ndarray:
    """A template on paper, its box in grey, the keypoints with their numbers. xy: (K, 2) in units of the box. Returns
    uint8 (SIDE, SIDE, 3) RGB."""
    sheet = np.full((SIDE, SIDE, 3), PAPER, dtype=np.uint8)
    low, high = np.minimum(xy.min(axis=0), 0), np.maximum(xy.max(axis=0), 1)
    scale = (SIDE - 60) / (high - low).max()
    places = 30 + (xy - low) * scale
    corners = 30 + (np.array([[0.0, 0.0], [1.0, 1.0]]) - low) * scale
    cv2.rectangle(sheet, fixed(corners[0]), fixed(corners[1]), (190, 190, 190), 1, cv2.LINE_AA, shift=4)
    draw_pose(sheet, places, known, graph, size=5)
    for k in np.flatnonzero(known):
        x, y = (int(v) for v in places[k])
        cv2.putText(sheet, str(k), (x + 8, y - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
    return sheet


def encode_png(image: np.ndarray) -> bytes:
    """image: uint8 (H, W, 3) RGB."""
    done, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert done
    return data.tobytes()


def fixed(point: np.ndarray) -> tuple[int, int]:
    """Sixteenths of a pixel, as cv2 wants them with shift=4; far away points are kept within its range."""
    x, y = np.clip(np.round(point * 16), -(2**20), 2**20)
    return int(x), int(y)


def _rgb(colour: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in colour)
    return red, green, blue
