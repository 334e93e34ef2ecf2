"""Deformable cross-attention into one feature map (Zhu et al. 2021, Deformable DETR, §4.1; paper §5.4)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DeformableAttention(nn.Module):
    """Each query reads `points` places a head around its reference, bilinearly, and mixes them by learned weights."""

    def __init__(self, width: int, heads: int, points: int) -> None:
        super().__init__()
        self.heads = heads
        self.points = points
        self.value = nn.Linear(width, width)
        self.offset = nn.Linear(width, heads * points * 2)
        self.weight = nn.Linear(width, heads * points)
        self.out = nn.Linear(width, width)
        self._start()

    def _start(self) -> None:
        """Heads look in as many directions, points 1, 2, … cells away, equally weighted (Deformable DETR's start)."""
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        direction = torch.stack([angle.cos(), angle.sin()], dim=-1)
        direction = direction / direction.abs().amax(dim=-1, keepdim=True)
        reach = torch.arange(1, self.points + 1).view(1, -1, 1)
        with torch.no_grad():
            self.offset.weight.zero_()
            self.offset.bias.copy_((direction.unsqueeze(1) * reach).flatten())
            self.weight.weight.zero_()
            self.weight.bias.zero_()

    def project(self, features: Tensor) -> Tensor:
        """features: (B, width, h, w). Returns the value map (B, width, h, w), to be kept over all steps.

        It is contiguous: splitting the heads would copy a channels-last map anew at every step.
        """
        return F.conv2d(features, self.value.weight[:, :, None, None], self.value.bias).contiguous()

    def forward(self, x: Tensor, reference: Tensor, value: Tensor) -> Tensor:
        """x: (B, T, width). reference: (B, T, 2) in [0, 1] of the map. value: from `project`.

        Offsets are in cells of the map. Outside of the map reads zero. Returns (B, T, width).
        """
        batch, steps, width = x.shape
        height, wide = value.shape[-2:]
        offset = self.offset(x).view(batch, steps, self.heads, self.points, 2)
        # Not divided by a tensor of (wide, height): making one on a GPU waits for all work before it.
        offset = torch.stack([offset[..., 0] / wide, offset[..., 1] / height], dim=-1)
        place = reference[:, :, None, None, :] + offset
        weight = self.weight(x).view(batch, steps, self.heads, self.points).softmax(dim=-1)
        grid = (2 * place - 1).permute(0, 2, 1, 3, 4).flatten(0, 1)
        maps = value.view(batch * self.heads, width // self.heads, height, wide)
        read = F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        mixed = (read * weight.transpose(1, 2).flatten(0, 1).unsqueeze(1)).sum(dim=-1)
        return self.out(mixed.view(batch, width, steps).transpose(1, 2))
