"""Pose as a token sequence (paper §5.2, §5.3): layouts, ids and the coordinate tables.

Two formats, T steps for K keypoints. Step t takes the token of step t - 1 (step 0 takes <bos>) and predicts token t.

- `xy` (the paper's), T = 4K + 1: <coord> x y <sep>, K times, then <eos>.
- `point`, T = K + 1: one token a keypoint, x and y predicted side by side, then <eos>.

Ids 0 … V-1 are coordinate bins, V … V+3 the special tokens: they can't overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Sequence = Literal["xy", "point"]
SPECIALS = 4


class Kind(IntEnum):
    """What a token is. The first four are special tokens, with id V + kind."""

    BOS = 0
    COORD = 1
    SEP = 2
    EOS = 3
    X = 4
    Y = 5
    POINT = 6


@dataclass(frozen=True)
class Layout:
    """Tokens predicted at the T steps for K keypoints.

    kind: int64 (T,), a `Kind`. keypoint: int64 (T,), the keypoint the token belongs to; K at the last step, <eos>.
    entering: int64 (T,), the kind of the token that enters at each step: the one before, <bos> first. x, y: int64 (K,),
    the steps that predict each keypoint's x and its y. steps: kind and keypoint, without a wait for the device.
    """

    kind: Tensor
    keypoint: Tensor
    entering: Tensor
    x: Tensor
    y: Tensor
    steps: tuple[tuple[Kind, int], ...]


def layout(sequence: Sequence, keypoints: int, device: torch.device | str = "cpu") -> Layout:
    """The layout of a pose of `keypoints` keypoints. It is kept: making one on a GPU waits for all work before it."""
    return _layout(sequence, keypoints, torch.device(device))


@cache  # for good: a captured step reads it where it lies
def _layout(sequence: Sequence, keypoints: int, device: torch.device) -> Layout:
    cycle = [Kind.COORD, Kind.X, Kind.Y, Kind.SEP] if sequence == "xy" else [Kind.POINT]
    kinds = cycle * keypoints + [Kind.EOS]
    points = [step // len(cycle) for step in range(len(kinds))]
    steps = [[step for step, kind in enumerate(kinds) if kind in (axis, Kind.POINT)] for axis in (Kind.X, Kind.Y)]
    with torch.inference_mode(False):  # training may come after
        kind, keypoint, before, x, y = (
            torch.tensor(each, device=device) for each in (kinds, points, [Kind.BOS, *kinds[:-1]], *steps)
        )
    return Layout(kind, keypoint, before, x, y, tuple(zip(kinds, points, strict=True)))


def entering(plan: Layout, xy: Tensor) -> Tensor:
    """The coordinates that enter at each step: those of the token before it. xy: (B, K, 2). Returns (B, T, 2)."""
    at = xy[:, plan.keypoint.clamp(max=xy.shape[1] - 1)] * (plan.kind >= Kind.X).unsqueeze(-1)
    return F.pad(at[:, :-1], (0, 0, 1, 0))


@dataclass(frozen=True)
class TokenSequence:
    """Targets of teacher forcing, for B poses padded to the same K. A = 1 id a step in `xy`, 2 (x, y) in `point`.

    ids: int64 (B, T, A). xy: float32 (B, T, 2) in [0, 1], the keypoint's place where point_loss is True, else 0.
    mask: bool (B, T), True = a token of the pose, False = padding after its <eos>.
    token_loss: bool (B, T), True = counts in the cross-entropy: structure, and coordinates of visible keypoints.
    point_loss: bool (B, T), True = counts in the coordinate loss: coordinate steps of visible keypoints.
    """

    ids: Tensor
    xy: Tensor
    mask: Tensor
    token_loss: Tensor
    point_loss: Tensor


def bins(coordinate: Tensor, vocabulary: int) -> Tensor:
    """Nearest bin of coordinates in [0, 1] (clamped): int64 in 0 … V-1, same shape."""
    return (coordinate.clamp(0.0, 1.0) * (vocabulary - 1)).round().long()


def tokenize(sequence: Sequence, vocabulary: int, xy: Tensor, joints: Tensor, visible: Tensor) -> TokenSequence:
    """Poses to targets. xy: float32 (B, K, 2) in [0, 1]. joints, visible: bool (B, K), True = real.

    Real keypoints must come before the padding, since <eos> stands at their count. Raises ValueError where they don't;
    not on a GPU, where a look would wait for all work before it.
    """
    count = joints.sum(dim=1)
    if joints.device.type == "cpu" and not torch.equal(joints, torch.arange(joints.shape[1]) < count.unsqueeze(1)):
        raise ValueError("real keypoints must come before the padding")
    plan = layout(sequence, xy.shape[1], xy.device)
    point = plan.keypoint.clamp(max=xy.shape[1] - 1)
    past = plan.keypoint >= count.unsqueeze(1)
    first_past = past & (past.long().cumsum(dim=1) == 1)  # that is where <eos> stands
    coordinate = (plan.kind >= Kind.X) & ~past
    seen = coordinate & visible[:, point]
    at = torch.where(seen.unsqueeze(-1), xy[:, point], 0.0)

    special = torch.where(first_past, Kind.EOS + vocabulary, plan.kind + vocabulary)
    if sequence == "xy":
        value = torch.where(plan.kind == Kind.Y, at[..., 1], at[..., 0])
        ids = torch.where(coordinate, bins(value, vocabulary), special.clamp(max=vocabulary + 3)).unsqueeze(-1)
    else:
        ids = torch.where(
            coordinate.unsqueeze(-1), bins(at, vocabulary), special.clamp(max=vocabulary + 3).unsqueeze(-1)
        )
    mask = ~past | first_past
    return TokenSequence(ids, at, mask, mask & (~coordinate | seen), seen)


class CoordinateTable(nn.Module):
    """V learned embeddings per axis; a real coordinate is the convex combination of its two neighbours (§5.3)."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(2, vocabulary, width) * 0.02)

    def axis(self, coordinate: Tensor, axis: int) -> Tensor:
        """coordinate: (...) in [0, 1] (clamped). Returns (..., width)."""
        table = self.table[axis]
        place = coordinate.clamp(0.0, 1.0) * (table.shape[0] - 1)
        low = place.floor().long().clamp(max=table.shape[0] - 2)
        share = (place - low).unsqueeze(-1)
        return torch.lerp(table[low], table[low + 1], share.to(table.dtype))

    def forward(self, xy: Tensor) -> Tensor:
        """xy: (..., 2) in [0, 1]. Returns (..., width), the sum of both axes' embeddings."""
        return self.axis(xy[..., 0], 0) + self.axis(xy[..., 1], 1)
