"""PCK, the share of correct keypoints, and the two means of it that are in print. Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

THRESHOLDS = (0.05, 0.10, 0.15, 0.20, 0.25)
CURVE = tuple(step / 100 for step in range(51))  # of the curve that reports draw


def pck(pred: np.ndarray, truth: np.ndarray, visible: np.ndarray, side: np.ndarray, threshold: float) -> np.ndarray:
    """Share of visible keypoints closer to the truth than threshold · side (strict).

    pred, truth: (N, K, 2) source pixels. visible: (N, K) True = real. side: (N,) longer box side, pixels, > 0.
    Returns float64 (N,); 0 where nothing is visible, as the official code scores it (Xu et al. 2022).
    """
    return pck_curve(pred, truth, visible, side, (threshold,))[:, 0]


def pck_curve(
    pred: np.ndarray,
    truth: np.ndarray,
    visible: np.ndarray,
    side: np.ndarray,
    thresholds: Sequence[float] = THRESHOLDS,
) -> np.ndarray:
    """`pck` at each of T thresholds, float64 (N, T): the distances are taken once.

    What stands in pred or truth where a keypoint isn't visible is never counted; it may be NaN.
    """
    assert pred.shape == truth.shape == (*visible.shape, 2), "one prediction for each keypoint, never trimmed"
    assert (side > 0).all(), "a box has two sides longer than 0"
    # Divided, not multiplied: 3 px of 30 is exactly the float 0.1, so "strict" holds at the edge.
    distance = np.linalg.norm(pred.astype(np.float64) - truth, axis=-1) / side[:, None]
    hits = np.stack([((distance < t) & visible).sum(axis=1) for t in thresholds], axis=1)
    return hits / np.maximum(visible.sum(axis=1), 1)[:, None]


def mpck4(curve: np.ndarray) -> np.ndarray:
    """Mean over α in {.05, .10, .15, .20}, as MetaPoint and FMMP print it. curve: (..., 5), PCK at THRESHOLDS."""
    assert curve.shape[-1] == len(THRESHOLDS)
    return curve[..., :4].mean(axis=-1)


def mpck5(curve: np.ndarray) -> np.ndarray:
    """Mean over α in {.05, .10, .15, .20, .25}, as CapeFormer, PoseAnything, CapeX and EdgeCape print it.

    curve: (..., 5), PCK at THRESHOLDS.
    """
    assert curve.shape[-1] == len(THRESHOLDS)
    return curve.mean(axis=-1)
