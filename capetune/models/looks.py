"""How a support's image looks at its keypoints (POMNet's support features, Xu et al. 2022, §4.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from capetune.models.backbone import Maps


@dataclass(frozen=True)
class Looks:
    """Of B templates. mean: float (B, K, C), over the supports that show the keypoint; 0 where none does. seen: bool
    (B, K), True = one does."""

    mean: Tensor
    seen: Tensor


def read(maps: Maps, xy: Tensor) -> Tensor:
    """What the maps of M images hold at places of each, bilinearly between the cells' centres, and as at the border
    beyond them. maps: for each stride (M, C, h, w), as `Backbone.features` gives them. xy: (M, K, 2) in [0, 1].

    Returns float32 (M, K, ΣC), the strides one after the other.
    """
    grid = (2 * xy.float() - 1).unsqueeze(1)
    found = [F.grid_sample(seen.float(), grid, padding_mode="border", align_corners=False) for seen in maps]
    return torch.cat(found, dim=1)[:, :, 0].transpose(1, 2)


def averaged(looks: Tensor, visible: Tensor) -> Looks:
    """looks: (B, n, K, C), of n supports. visible: bool (B, n, K), True = real; elsewhere nothing is read."""
    count = visible.sum(dim=1)
    total = torch.where(visible.unsqueeze(-1), looks, 0.0).sum(dim=1)
    return Looks(total / count.clamp(min=1).unsqueeze(-1), count > 0)
