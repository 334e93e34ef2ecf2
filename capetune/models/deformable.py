"""Deformable cross-attention into feature maps (Zhu et al. 2021, Deformable DETR, §4.1; paper §5.4)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from capetune.models.attention import few


class DeformableAttention(nn.Module):
    """Each query reads `points` places a head and map around its reference, bilinearly, and mixes them by weights."""

    def __init__(self, width: int, heads: int, points: int, levels: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.points = points
        self.levels = levels
        self.value = nn.Linear(width, width)
        self.look = nn.Linear(width, heads * levels * points * 3)  # where, in x and y; and how much it weighs
        self.out = nn.Linear(width, width)
        self._start()

    def _start(self) -> None:
        """Heads look in as many directions, points 1, 2, … cells away, equally weighted (Deformable DETR's start)."""
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        direction = torch.stack([angle.cos(), angle.sin()], dim=-1)
        direction = direction / direction.abs().amax(dim=-1, keepdim=True)
        reach = torch.arange(1, self.points + 1).view(1, 1, -1, 1).expand(1, self.levels, -1, 1)
        with torch.no_grad():
            self.look.weight.zero_()
            self.look.bias.zero_()
            self.look.bias.view(self.heads, self.levels, self.points, 3)[..., :2] = direction[:, None, None] * reach

    def project(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """features: a map a level, (B, width, h, w). Returns their value maps, of the same shapes, to be kept over all
        steps.

        They are contiguous: splitting the heads would copy a channels-last map anew at every step.
        """
        kernel = self.value.weight[:, :, None, None]
        return tuple(F.conv2d(seen, kernel, self.value.bias).contiguous() for seen in features)

    def forward(self, x: Tensor, reference: Tensor, values: tuple[Tensor, ...]) -> Tensor:
        """x: (B, T, width). reference: (B, T, 2) in [0, 1] of the maps. values: from `project`.

        Offsets are in cells of each map. Outside of a map reads zero. Returns (B, T, width).
        """
        batch, steps, width = x.shape
        look = self._look(x)
        if few(x, self.heads) and self.levels == 1:
            from capetune.models import kernels

            return self.out(kernels.read(look[:, :, :, 0], reference, values[0], self.heads))
        reads = []
        for place, value in zip(_places(look, reference, values), values, strict=True):
            height, wide = value.shape[-2:]
            grid = (2 * place - 1).transpose(1, 2).flatten(0, 1)
            maps = value.view(batch * self.heads, width // self.heads, height, wide)
            reads.append(F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False))
        read = reads[0] if len(reads) == 1 else torch.cat(reads, dim=-1)
        weight = _weights(look)
        mixed = (read * weight.transpose(1, 2).flatten(0, 1).unsqueeze(1)).sum(dim=-1)
        return self.out(mixed.view(batch, width, steps).transpose(1, 2))

    def looked(self, x: Tensor, reference: Tensor, values: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Where `forward` reads for the same arguments, and with which weights: P places of all heads, maps, points.

        Returns places (B, T, P, 2) in [0, 1] of the maps, outside of which zero is read, and weights (B, T, P), whose
        sum is 1: each head's share of the width counts as much as another's.
        """
        look = self._look(x)
        places = torch.stack(_places(look, reference, values), dim=3)
        return places.flatten(2, 4), _weights(look).flatten(2) / self.heads

    def _look(self, x: Tensor) -> Tensor:
        """(B, T, heads, levels, points, 3): offsets in x and y, and weights before the softmax."""
        return self.look(x).unflatten(-1, (self.heads, self.levels, self.points, 3))


def _places(look: Tensor, reference: Tensor, values: tuple[Tensor, ...]) -> list[Tensor]:
    """Of each map, (B, T, heads, points, 2) in [0, 1]."""
    places = []
    for level, value in enumerate(values):
        height, wide = value.shape[-2:]
        # Not divided by a tensor of (wide, height): making one on a GPU waits for all work before it.
        across, down, _ = look[:, :, :, level].unbind(dim=-1)
        places.append(reference[:, :, None, None, :] + torch.stack([across / wide, down / height], dim=-1))
    return places


def _weights(look: Tensor) -> Tensor:
    """(B, T, heads, levels · points), each head's of sum 1."""
    return look[..., 2].flatten(-2).softmax(dim=-1)
