"""What is odd about one annotation that is kept all the same: counted by `capetune data check`, never repaired."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from capetune.pose import Instance

FLOAT_EXACT = 2**53  # beyond it a float64 no longer holds every integer: ids that pass through one are merged
SMALL_SIDE = 16
LONG_ASPECT = 5
FEW_KEYPOINTS = 3


def annotation_quirks(annotation: dict[str, Any], neighbours: int, instance: Instance) -> Iterator[str]:
    """The names of the quirks of one kept annotation, each at most once.

    annotation: as in the file. neighbours: annotations of the same image, this one included. instance: made of it.
    """
    x, y, w, h = annotation["bbox"]
    width, height = instance.image_size
    if max(instance.id, instance.image_id) > FLOAT_EXACT:
        yield "id above 2^53"
    if instance.id == instance.image_id:
        yield "annotation id equals image id"
    if neighbours > 1:
        yield "several annotations in the image"
    if x < 0 or y < 0:
        yield "box begins outside the image"
    if x + w > width or y + h > height:
        yield "box passes the image's edge"
    sides = instance.box[2:]
    if sides.min() < SMALL_SIDE:
        yield "box side under 16 px"
    if sides.max() > LONG_ASPECT * sides.min():
        yield "box longer than 5:1"
    if "area" in annotation and abs(annotation["area"] - w * h) > 0.01 * w * h:
        yield "area is not w·h"
    seen = instance.xy[instance.visible]
    if ((seen < 0) | (seen > (width, height))).any():
        yield "keypoint outside the image"
    if ((seen < (x, y)) | (seen > (x + w, y + h))).any():
        yield "keypoint outside the box"
    if np.count_nonzero(instance.xy[~instance.visible]):
        yield "invisible keypoint with coordinates"
    if len(seen) == 0:
        yield "no visible keypoint"
    elif len(seen) <= FEW_KEYPOINTS:
        yield "3 or fewer visible keypoints"
