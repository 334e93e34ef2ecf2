"""λ1 cross-entropy over tokens + λ2 L1 over coordinates, at every decoder layer (paper §5.6)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from capetune.config import LossConfig
from capetune.models.tokens import TokenSequence


def token_loss(logits: Tensor, tokens: TokenSequence) -> Tensor:
    """Mean cross-entropy over tokens that count. logits: (B, T, A, V + 4). Returns a scalar; 0 where none counts."""
    each = F.cross_entropy(logits.float().flatten(0, 2), tokens.ids.flatten(), reduction="none")
    weight = tokens.token_loss.unsqueeze(-1).expand_as(tokens.ids).flatten()
    return (each * weight).sum() / weight.sum().clamp(min=1)


def coordinate_loss(points: Tensor, tokens: TokenSequence) -> Tensor:
    """Mean L1 distance, |dx| + |dy|, over coordinate steps of visible keypoints. points: (B, T, 2) in [0, 1].

    In `xy` both coordinate steps of a keypoint regress the whole point, so that the next layer may look there.
    """
    each = (points.float() - tokens.xy).abs().sum(dim=-1)
    return (each * tokens.point_loss).sum() / tokens.point_loss.sum().clamp(min=1)


def total_loss(
    logits: list[Tensor], points: list[Tensor], tokens: TokenSequence, config: LossConfig
) -> dict[str, Tensor]:
    """Sum over the layers. Returns scalars: `loss` (to minimise), and `tokens` and `coordinates` of the last layer."""
    ce = [token_loss(layer, tokens) for layer in logits]
    l1 = [coordinate_loss(layer, tokens) for layer in points]
    loss = config.tokens * torch.stack(ce).sum() + config.coordinates * torch.stack(l1).sum()
    return {"loss": loss, "tokens": ce[-1].detach(), "coordinates": l1[-1].detach()}
