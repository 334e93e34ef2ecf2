"""Multi-head attention with one mask convention: True = take part."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Scaled dot-product attention (Vaswani et al. 2017, §3.2). Keys and values may be projected once and reused."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def project(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """source: (B, S, d). Returns keys and values, each (B, heads, S, d / heads)."""
        key, value = self.key_value(source).chunk(2, dim=-1)
        return self._split(key), self._split(value)

    def forward(self, x: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """x: (B, T, d) queries. key, value: from `project`. mask: bool, broadcasts to (B, heads, T, S), True = attend.

        Every query must be allowed at least one key. Returns (B, T, d).
        """
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(self._split(self.query(x)), key, value, mask, dropout)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        return x.view(batch, length, self.heads, width // self.heads).transpose(1, 2)


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
