"""Which instances of a pack to look at first: the worst boxes, the oddest annotations, the fewest visible keypoints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from capetune.datasets.mp100.findings import counted
from capetune.datasets.mp100.quirks import SMALL_SIDE, pose_quirks
from capetune.pose import Instance

Worst = Literal["boxes", "odd", "visible"]


def worst_first(instances: Iterable[Instance], kind: Worst) -> list[tuple[Instance, str]]:
    """Those with something to look at, the worst first, and what it is.

    boxes: with visible keypoints outside, by how far in box sides, then those under SMALL_SIDE pixels, by size. odd:
    with any of `pose_quirks`, the most first. visible: all, by the share of their keypoints.
    """
    match kind:
        case "boxes":
            ranked = [(rank, instance, note) for instance in instances for rank, note in _box(instance)]
        case "odd":
            named = [(list(pose_quirks(instance)), instance) for instance in instances]
            ranked = [(float(-len(names)), instance, ", ".join(names)) for names, instance in named if names]
        case "visible":
            ranked = [
                (float(i.visible.mean()), i, f"{np.count_nonzero(i.visible)} of {len(i.visible)}") for i in instances
            ]
    return [(instance, note) for _, instance, note in sorted(ranked, key=lambda each: each[0])]


def _box(instance: Instance) -> list[tuple[float, str]]:
    """One rank and note where the box is bad: below 0 for keypoints outside, from 0 on for a tiny one."""
    low, size = instance.box[:2], instance.box[2:]
    seen = instance.xy[instance.visible]
    past = np.maximum(low - seen, seen - low - size).max(axis=1, initial=0) if len(seen) else np.zeros(0)
    outside = past > 1  # a clipped box is a pixel narrower than it was annotated
    if outside.any():
        return [(-float(past.max() / instance.side), f"{counted(int(outside.sum()), 'keypoint')} outside")]
    if size.min() < SMALL_SIDE:
        return [(float(size.min()), f"box {size[0]:.0f}×{size[1]:.0f}")]
    return []
