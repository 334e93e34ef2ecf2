"""λ1 cross-entropy over tokens + λ2 L1 over coordinates, at every decoder layer (paper §5.6)."""

from __future__ import annotations

import torch
from torch import Tensor

from capetune.config import LossConfig
from capetune.models.tokens import SPECIALS, TokenSequence


def token_loss(logits: Tensor, tokens: TokenSequence, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy over tokens that count. logits: (B, T, A, V + 4). Returns a scalar; 0 where none counts.

    smoothing: deviation, in bins, of a normal distribution around the true bin that coordinate tokens are taught.
    """
    log = logits.float().log_softmax(dim=-1)
    true = log.gather(-1, tokens.ids.unsqueeze(-1)).squeeze(-1)
    if smoothing:
        vocabulary = log.shape[-1] - SPECIALS
        away = torch.arange(vocabulary, device=log.device) - tokens.ids.unsqueeze(-1)
        share = (-0.5 * (away / smoothing).square()).softmax(dim=-1)
        near = (share * log[..., :vocabulary]).sum(dim=-1)
        true = torch.where(tokens.ids < vocabulary, near, true)
    weight = tokens.token_loss.unsqueeze(-1).expand_as(tokens.ids)
    return -(true * weight).sum() / weight.sum().clamp(min=1)


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
    ce = [token_loss(layer, tokens, config.smoothing) for layer in logits]
    l1 = [coordinate_loss(layer, tokens) for layer in points]
    loss = config.tokens * torch.stack(ce).sum() + config.coordinates * torch.stack(l1).sum()
    return {"loss": loss, "tokens": ce[-1].detach(), "coordinates": l1[-1].detach()}
