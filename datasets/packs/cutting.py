"""From a source image to the small jpgs of its instances: what `capetune data pack` does most of its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from capetune.datasets.mp100.pictures import read_image
from capetune.datasets.packs.crop import PADDING, compose, encode_jpeg, enlarge
from capetune.pose import Instance

# What is stored reaches as far as the default augmentation does: a crop 15 % larger, turned by 15 degrees.
SCALE, ROTATION = 1.15, np.deg2rad(15)
REACH = PADDING * SCALE * float(np.cos(ROTATION) + np.sin(ROTATION))  # × the longer box side, about 1.76


@dataclass(frozen=True, eq=False)
class Cut:
    """Encoded pixels of one instance. to_source: float64 (2, 3), their coordinates to source pixels."""

    instance: Instance
    jpeg: bytes
    to_source: np.ndarray


def cut_image(file: Path, instances: Sequence[Instance], size: int, quality: int) -> tuple[list[Cut], tuple[str, ...]]:
    """Decode one image and cut all its instances out of it, in their order; what `read_image` finds doubtful besides.

    size: side that the official crop gets in the store, at most; pixels are never enlarged. Raises Unusable.
    """
    # Decoding a jpg at 1/2, 1/4 or 1/8 saves most of the time of a large one; stop where a crop would lose pixels.
    coarsest = min(PADDING * instance.side for instance in instances) / size
    image, reduction, doubts = read_image(file, instances[0].image_size, coarsest)
    return [cut(image, reduction, instance, size, quality) for instance in instances], doubts


def cut(image: np.ndarray, reduction: int, instance: Instance, size: int, quality: int) -> Cut:
    """The pixels around one box, as far as `REACH` and the image go, reduced so that the official crop fits `size`.

    image: uint8 (H, W, 3) RGB, the source reduced by `reduction`.
    """
    height, width = image.shape[:2]
    x, y, w, h = instance.box / reduction
    reach = REACH * max(w, h) / 2
    left, right = _span(x + w / 2, reach, width)
    top, bottom = _span(y + h / 2, reach, height)
    pixels = np.ascontiguousarray(image[top:bottom, left:right])
    to_source = np.array([[1.0, 0.0, left], [0.0, 1.0, top]])
    factor = size / (PADDING * max(w, h))
    if factor < 1:
        old = pixels.shape
        smaller = (max(1, round(old[1] * factor)), max(1, round(old[0] * factor)))
        pixels = cv2.resize(pixels, smaller, interpolation=cv2.INTER_AREA)
        to_source = compose(to_source, enlarge(old[1] / pixels.shape[1], old[0] / pixels.shape[0]))
    return Cut(instance, encode_jpeg(pixels, quality), compose(enlarge(reduction, reduction), to_source))


def _span(centre: float, reach: float, end: int) -> tuple[int, int]:
    """First pixel and the one after the last within reach of the centre, inside the image; at least one pixel."""
    first = min(max(0, int(np.floor(centre - reach))), end - 1)
    return first, max(first + 1, min(end, int(np.ceil(centre + reach)) + 1))
