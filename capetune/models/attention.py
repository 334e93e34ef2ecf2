"""Multi-head attention with one mask convention: True = take part."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Past = tuple[Tensor, Tensor, Tensor]


class Attention(nn.Module):
    """Scaled dot-product attention (Vaswani et al. 2017, §3.2). Keys and values may be projected once and reused."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.into = nn.Linear(width, 3 * width)  # queries, keys, values
        self.out = nn.Linear(width, width)

    def project(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """source: (B, S, d). Returns keys and values, each (B, heads, S, d / heads)."""
        width = source.shape[-1]
        key, value = F.linear(source, self.into.weight[width:], self.into.bias[width:]).chunk(2, dim=-1)
        return self._split(key), self._split(value)

    def forward(self, x: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        """x: (B, T, d) queries. key, value: from `project`. bias: from `additive`, broadcasts to (B, heads, T, S);
        None = every query attends to every key.

        Every query must be allowed at least one key. Returns (B, T, d).
        """
        width = x.shape[-1]
        return self._mix(F.linear(x, self.into.weight[:width], self.into.bias[:width]), key, value, bias)

    def to_itself(self, x: Tensor, bias: Tensor | None, past: Past | None = None) -> Tensor:
        """As `forward` with x as its own source: one product where `project` needs another.

        past: keys and values of S steps in all, (B, heads, S, d / heads), and int64 (T,), which of them are x's: these
        are written into it.
        """
        query, key, value = self.into(x).chunk(3, dim=-1)
        key, value = self._split(key), self._split(value)
        if past is not None:
            keys, values, steps = past
            key, value = keys.index_copy_(2, steps, key), values.index_copy_(2, steps, value)
        return self._mix(query, key, value, bias)

    def _mix(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(self._split(query), key, value, bias, dropout)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        return x.view(batch, length, self.heads, width // self.heads).transpose(1, 2)


def additive(mask: Tensor) -> Tensor:
    """What scaled_dot_product_attention adds for a mask: 0 where True, -inf where False.

    It would make the same of a bool mask, anew in every layer and at every step.
    """
    return torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, -torch.inf)


class FeedForward(nn.Sequential):
    """Two linear layers, four times as wide between them."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width))


def sinusoid(position: Tensor, width: int, period: float = 10_000.0) -> Tensor:
    """Sines and cosines of positions (Vaswani et al. 2017, §3.5). position: (...). Returns float32 (..., width)."""
    half = (width + 1) // 2
    frequency = period ** (-torch.arange(half, device=position.device, dtype=torch.float32) / half)
    angle = position.float().unsqueeze(-1) * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1)[..., :width]
