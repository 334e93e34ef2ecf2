"""The template of a category: the mean of its supports' poses, each normalised by its own box.

Never let a query's own annotation into its template: that is leakage. Who calls these functions chooses the
supports; nothing here looks at a query's keypoints.
"""

from __future__ import annotations

import numpy as np

from capetune.pose import Instance

UNKNOWN = 0.5  # the box's centre: the least wrong guess for a keypoint no support shows


def normalise(instance: Instance) -> np.ndarray:
    """The pose in units of the instance's own clipped box, per axis: (0, 0) top left, (1, 1) bottom right.

    Returns float64 (K, 2). Keypoints outside the box fall outside [0, 1]; invisible ones are carried along as they
    are, so that index i always means keypoint i.
    """
    return (instance.xy - instance.box[:2]) / instance.box[2:]


def mean_template(xy: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the supports over those that show the keypoint.

    xy: float (..., S, K, 2) normalised poses. visible: bool (..., S, K), True = real. Leading axes, such as P pairs,
    are kept. Returns the template, float64 (..., K, 2), 0.5 where no support shows the keypoint, and known, bool
    (..., K), True = at least one does. Coordinates of invisible keypoints are never looked at (they may be NaN).
    """
    counts = visible.sum(axis=-2)
    totals = np.where(visible[..., None], xy, 0.0).sum(axis=-3, dtype=np.float64)
    known = counts > 0
    return np.where(known[..., None], totals / np.maximum(counts, 1)[..., None], UNKNOWN), known


def place(template: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The inverse of `normalise`: a normalised pose put into a box.

    template: float (..., K, 2). box: float (..., 4) xywh in source pixels. Returns float (..., K, 2) source pixels.
    """
    return box[..., None, :2] + template * box[..., None, 2:]
