"""What is doubtful or odd about one annotation that is kept all the same: counted and named, never repaired."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from capetune.datasets.mp100.instance import NO_BOX, NO_PLACE
from capetune.pose import Instance

FLOAT_EXACT = 2**53  # beyond it a float64 no longer holds every integer: ids that pass through one are merged
SMALL_SIDE = 16
LONG_ASPECT = 5
FEW_KEYPOINTS = 3


def annotation_doubts(
    annotation: dict[str, Any], instance: Instance, filled: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    """What may make a kept annotation wrong: reasons, each at most once, and what more there is to say.

    annotation: as in the file. instance: made of it. filled: as `read_instance` gives it.
    """
    visible, given = int(instance.visible.sum()), annotation.get("num_keypoints")
    if given is not None and given != visible:
        yield "num_keypoints is not the number of visible keypoints", f"says {str(given)[:20]}, {visible} are visible"
    if (instance.visible & (instance.xy == 0).all(axis=1)).any():
        yield "visible keypoint at (0, 0)", ""
    if NO_BOX in filled:
        yield NO_BOX, ""


def annotation_quirks(
    annotation: dict[str, Any], neighbours: int, instance: Instance, filled: tuple[str, ...]
) -> Iterator[str]:
    """The names of the harmless quirks of one kept annotation, each at most once.

    neighbours: annotations of the same image, this one included. The others as in `annotation_doubts`.
    """
    x, y, w, h = instance.box if NO_BOX in filled else annotation["bbox"]
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
    if "area" in annotation and NO_BOX not in filled and abs(annotation["area"] - w * h) > 0.01 * w * h:
        yield "area is not w·h"
    seen = instance.xy[instance.visible]
    if ((seen < (x, y)) | (seen > (x + w, y + h))).any():
        yield "keypoint outside the box"
    yield from pose_quirks(instance)
    if NO_PLACE in filled:
        yield NO_PLACE


def pose_quirks(instance: Instance) -> Iterator[str]:
    """Those of them that need no annotation file."""
    sides, (width, height) = instance.box[2:], instance.image_size
    seen = instance.xy[instance.visible]
    if sides.min() < SMALL_SIDE:
        yield "box side under 16 px"
    if sides.max() > LONG_ASPECT * sides.min():
        yield "box longer than 5:1"
    if ((seen < 0) | (seen > (width, height))).any():
        yield "keypoint outside the image"
    if np.count_nonzero(instance.xy[~instance.visible]):
        yield "invisible keypoint with coordinates"
    if len(seen) == 0:
        yield "no visible keypoint"
    elif len(seen) <= FEW_KEYPOINTS:
        yield "3 or fewer visible keypoints"
