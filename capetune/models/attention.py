"""Multi-head attention with one mask convention: True = take part."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from capetune.models.execution import COMPILER

Past = tuple[Tensor, Tensor | slice]
FEW = 4  # queries, for which there are kernels of our own


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

        past: queries, keys and values of S steps in all, (B, S, 3 d), into which x's are written, and at which of them:
        int64 (T,), or a slice.
        """
        made = self.into(x)
        width = x.shape[-1]
        if past is not None:
            kept, steps = past
            if isinstance(steps, slice):
                kept[:, steps] = made
            else:
                kept.index_copy_(1, steps, made)
            _, key, value = kept.chunk(3, dim=-1)
        else:
            _, key, value = made.chunk(3, dim=-1)
        return self._mix(made[..., :width], self._split(key), self._split(value), bias)

    def _mix(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        if few(query, self.heads):
            from capetune.models.kernels import attend

            return self.out(attend(self._split(query), key, value, bias))
        mixed = F.scaled_dot_product_attention(self._split(query), key, value, bias, dropout)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def few(x: Tensor, heads: int) -> bool:
    """Whether x, (B, T, d), are queries for `models.kernels`: few, on a GPU, in float32, no gradient asked for, and a
    power of two wide in each head; and whether kernels can be made here."""
    width = x.shape[2] // heads
    fits = (
        COMPILER is not None
        and x.is_cuda
        and x.dtype == torch.float32
        and x.shape[1] <= FEW
        and width & (width - 1) == 0
    )
    return fits and not torch.is_grad_enabled()


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
