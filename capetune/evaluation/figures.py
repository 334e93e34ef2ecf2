"""What each pair scores: PCK at the thresholds in print, the area under its whole curve, and two mean errors.

AUC, NME and EPE are those that PoseAnything and EdgeCape report of MP-100: `_report_metric` of their
`test_base_dataset.py` calls mmpose's `keypoint_auc`, `keypoint_nme` and `keypoint_epe` for one pair at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from capetune.evaluation.pck import pck_curve

STEPS = 20


def auc(pred: np.ndarray, truth: np.ndarray, visible: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Area under the PCK curve from 0 to 1: the mean of PCK at 0, .05, .10, … .95 of the longer box side.

    Arguments as of `pck_curve`. Returns float64 (N,) in [0, .95], for nothing is closer than 0; 0 where nothing is
    visible. Source: mmpose's `keypoint_auc`, 20 steps, with the longer box side as its normaliser.
    """
    return pck_curve(pred, truth, visible, side, [step / STEPS for step in range(STEPS)]).mean(axis=1)


def epe(pred: np.ndarray, truth: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Mean distance from the truth over the visible keypoints, in source pixels: the end-point error.

    pred, truth: (N, K, 2) source pixels. visible: (N, K) True = real. Returns float64 (N,); 0 where nothing is visible,
    as mmpose's `keypoint_epe` has it: such pairs make the mean smaller, so they are counted beside it.
    """
    distance = np.linalg.norm(pred.astype(np.float64) - truth, axis=-1)
    return np.where(visible, distance, 0).sum(axis=1) / np.maximum(visible.sum(axis=1), 1)


def nme(pred: np.ndarray, truth: np.ndarray, visible: np.ndarray, side: np.ndarray) -> np.ndarray:
    """`epe` in units of the longer box side, not of its diagonal: the normalised mean error, mmpose's `keypoint_nme`.

    side: (N,) longer box side, pixels, > 0. Returns float64 (N,); 0 where nothing is visible.
    """
    return epe(pred, truth, visible) / side


@dataclass(frozen=True, eq=False)
class Figures:
    """Of P pairs. pck: float64 (P, 5) at THRESHOLDS. auc, nme, epe: float64 (P,), as the functions of these names."""

    pck: np.ndarray
    auc: np.ndarray
    nme: np.ndarray
    epe: np.ndarray

    @classmethod
    def of(cls, pred: np.ndarray, truth: np.ndarray, visible: np.ndarray, side: np.ndarray) -> Figures:
        """Arguments as of `pck_curve`."""
        every = (pred, truth, visible, side)
        return cls(pck_curve(*every), auc(*every), nme(*every), epe(*every[:3]))

    @classmethod
    def joined(cls, parts: Sequence[Figures]) -> Figures:
        """The pairs of all of them, one after the other."""
        names = ("pck", "auc", "nme", "epe")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
