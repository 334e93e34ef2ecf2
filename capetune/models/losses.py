"""λ1 cross-entropy over tokens + λ2 L1 over coordinates, at every decoder layer (paper §5.6)."""

from __future__ import annotations

import torch
from torch import Tensor

from capetune.config import LossConfig
from capetune.models.tokens import SPECIALS, TokenSequence


def token_loss(logits: Tensor, tokens: TokenSequence, smoothing: float = 0.0, each: bool = False) -> Tensor:
    """Mean cross-entropy over tokens that count. logits: (B, T, A, V + 4). Returns a scalar; 0 where none counts.

    smoothing: deviation, in bins, of a normal distribution around the true bin that coordinate tokens are taught.
    each=True returns the mean of each pose by itself, (B,).
    """
    log = logits.float().log_softmax(dim=-1)
    true = log.gather(-1, tokens.ids.unsqueeze(-1)).squeeze(-1)
    if smoothing:
        vocabulary = log.shape[-1] - SPECIALS
        away = torch.arange(vocabulary, device=log.device) - tokens.ids.unsqueeze(-1)
        share = (-0.5 * (away / smoothing).square()).softmax(dim=-1)
        near = (share * log[..., :vocabulary]).sum(dim=-1)
        true = torch.where(tokens.ids < vocabulary, near, true)
    return _mean(-true, tokens.token_loss.unsqueeze(-1).expand_as(tokens.ids), each)


def coordinate_loss(points: Tensor, tokens: TokenSequence, each: bool = False) -> Tensor:
    """Mean L1 distance, |dx| + |dy|, over coordinate steps of visible keypoints. points: (B, T, 2) in [0, 1].

    In `xy` both coordinate steps of a keypoint regress the whole point, so that the next layer may look there.
    each: as in `token_loss`.
    """
    return _mean((points.float() - tokens.xy).abs().sum(dim=-1), tokens.point_loss, each)


def total_loss(
    logits: list[Tensor], points: list[Tensor], tokens: TokenSequence, config: LossConfig, each: bool = False
) -> dict[str, Tensor]:
    """Sum over the layers. Returns scalars, with `each` one a pose, (B,): `loss` (to minimise), and `tokens` and
    `coordinates` of the last layer."""
    ce = [token_loss(layer, tokens, config.smoothing, each) for layer in logits]
    l1 = [coordinate_loss(layer, tokens, each) for layer in points]
    loss = config.tokens * torch.stack(ce).sum(dim=0) + config.coordinates * torch.stack(l1).sum(dim=0)
    return {"loss": loss, "tokens": ce[-1].detach(), "coordinates": l1[-1].detach()}


def _mean(values: Tensor, weight: Tensor, each: bool) -> Tensor:
    """Over what counts, in all poses together or in each. values, weight (bool): (B, ...)."""
    if each:
        values, weight = values.flatten(1).T, weight.flatten(1).T
        return (values * weight).sum(dim=0) / weight.sum(dim=0).clamp(min=1)
    return (values * weight).sum() / weight.sum().clamp(min=1)
