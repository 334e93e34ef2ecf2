"""What went wrong with the keypoints that were missed. Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MISSED, FAR, COPIED = 0.10, 0.30, 0.05  # of the longer box side
HEAP = 1 / 3  # of the truth's spread
KINDS = ("collapsed", "copied", "exchanged", "far", "near")


def kinds(
    pred: np.ndarray,
    truth: np.ndarray,
    template: np.ndarray,
    visible: np.ndarray,
    side: np.ndarray,
    mirror: Sequence[int] | None,
) -> np.ndarray:
    """The kind of every missed keypoint, as a position in KINDS; -1 where it isn't missed, or doesn't count.

    pred, truth, template: (P, K, 2) source pixels. visible: (P, K) True = real: the keypoints that count. side: (P,)
    longer box side, pixels, > 0. mirror: `flips.mirrored` of the graph, None where the names tell no left and right.
    Returns int (P, K). Definitions of ours; the first that holds is taken:

    missed: MISSED of the side or more from the truth, what PCK@.1 counts as a miss.
    collapsed: the pair's predicted keypoints are a heap: their root mean square distance from their own mean is less
    than HEAP of that of the true ones, over those that count.
    copied: closer than COPIED to where the template has it.
    exchanged: closer than MISSED to the truth of its counterpart on the other side, which counts too.
    far: FAR or more from the truth. near: anything else, between MISSED and FAR.
    """
    away = _distance(pred, truth, side)
    found = np.where(away >= FAR, KINDS.index("far"), KINDS.index("near"))
    if mirror is not None:
        other = np.array(mirror)
        crossed = (_distance(pred, truth[:, other], side) < MISSED) & visible[:, other]
        found[crossed] = KINDS.index("exchanged")
    found[_distance(pred, template, side) < COPIED] = KINDS.index("copied")
    found[_spread(pred, visible) < HEAP * _spread(truth, visible)] = KINDS.index("collapsed")
    return np.where(visible & (away >= MISSED), found, -1)


@dataclass(frozen=True)
class Failures:
    """Of all keypoints that count: how many there are, how many the predictor and the template missed, and how many of
    the predictor's are of each of KINDS; these add up to `missed`."""

    keypoints: int
    missed: int
    template_missed: int
    kinds: tuple[int, ...]

    @classmethod
    def of(
        cls, found: np.ndarray, copied: np.ndarray, truth: np.ndarray, visible: np.ndarray, side: np.ndarray
    ) -> Failures:
        """found: what `kinds` gives. copied: the template's places; these and the rest are as there."""
        counts = tuple(int((found == kind).sum()) for kind in range(len(KINDS)))
        template = int((visible & (_distance(copied, truth, side) >= MISSED)).sum())
        return cls(int(visible.sum()), sum(counts), template, counts)

    @classmethod
    def joined(cls, parts: Sequence[Failures]) -> Failures:
        keypoints, missed, template = (
            sum(getattr(part, name) for part in parts) for name in ("keypoints", "missed", "template_missed")
        )
        counts = tuple(sum(part.kinds[kind] for part in parts) for kind in range(len(KINDS)))
        return cls(keypoints, missed, template, counts)

    def to_json(self) -> dict[str, Any]:
        counts = {"keypoints": self.keypoints, "missed": self.missed, "template_missed": self.template_missed}
        return {**counts, "kinds": dict(zip(KINDS, self.kinds, strict=True))}


NONE = Failures(0, 0, 0, (0,) * len(KINDS))  # where nobody looks


def _distance(pred: np.ndarray, truth: np.ndarray, side: np.ndarray) -> np.ndarray:
    return np.linalg.norm(pred.astype(np.float64) - truth, axis=-1) / side[:, None]


def _spread(xy: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """float64 (P,), in pixels; 0 where fewer than two keypoints count."""
    weight = visible[..., None] / np.maximum(visible.sum(axis=1), 1)[:, None, None]
    real = np.where(visible[..., None], xy, 0)
    mean = (real * weight).sum(axis=1, keepdims=True)
    return np.sqrt((((real - mean) ** 2) * weight).sum(axis=(1, 2)))
