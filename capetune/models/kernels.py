"""Two kernels for the steps of generation on a GPU, in Triton: attention of a few queries, and deformable reading.

What PyTorch has for them is made for many queries: on an H200 it took 12 and 19 µs a call, 204 times a pose. Imported
only where there is a GPU.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """scaled_dot_product_attention without gradients.

    query: (B, heads, T, d). key, value: (B, heads, S, d), of the same strides, d a power of two. bias: broadcasts to
    (B, 1, T, S). Every query must be allowed a key.

    Returns (B, T, heads · d).
    """
    batch, heads, steps, width = query.shape
    length = key.shape[2]
    out = query.new_empty(batch, steps, heads * width)
    shown = query if bias is None else bias.expand(batch, 1, steps, length)
    strides = (0, 0, 0) if bias is None else (shown.stride(0), shown.stride(2), shown.stride(3))
    _attend[(batch * heads, steps)](
        query, key, value, shown, out,
        *query.stride()[:3], *key.stride()[:3], *strides,
        length, steps,
        heads, width, width**-0.5, 64, bias is not None, num_warps=2,
    )  # fmt: skip
    return out


def read(look: Tensor, reference: Tensor, value: Tensor, heads: int) -> Tensor:
    """What `DeformableAttention` reads of a single map, mixed, without gradients.

    look: (B, T, heads, points, 3). reference: (B, T, 2). value: (B, width, h, w). Returns (B, T, width).
    """
    batch, steps, _, points, _ = look.shape
    width, height, wide = value.shape[1:]
    out = look.new_empty(batch, steps, width)
    _read[(batch * steps, heads)](
        look.contiguous(), reference.contiguous(), value, out,
        *value.stride(), steps, height, wide,
        heads, points, triton.next_power_of_2(points), width // heads, num_warps=1,
    )  # fmt: skip
    return out


@triton.jit
def _attend(
    query, key, value, bias, out,
    qb, qh, qt, kb, kh, ks, bb, bt, bs,
    length, steps,
    HEADS: tl.constexpr, D: tl.constexpr, SCALE: tl.constexpr, BLOCK: tl.constexpr, BIASED: tl.constexpr,
):  # fmt: skip
    batch, head, step = tl.program_id(0) // HEADS, tl.program_id(0) % HEADS, tl.program_id(1)
    d, s = tl.arange(0, D), tl.arange(0, BLOCK)
    asked = tl.load(query + batch * qb + head * qh + step * qt + d) * SCALE
    most = tl.full([], -1e30, tl.float32)
    total = tl.full([], 0.0, tl.float32)
    mixed = tl.zeros([D], dtype=tl.float32)
    for begin in range(0, length, BLOCK):
        at = begin + s
        real = at < length
        where = batch * kb + head * kh + at[:, None] * ks + d[None, :]
        keys = tl.load(key + where, mask=real[:, None], other=0.0)
        score = tl.sum(keys * asked[None, :], axis=1)
        if BIASED:
            score += tl.load(bias + batch * bb + step * bt + at * bs, mask=real, other=0.0)
        score = tl.where(real, score, float("-inf"))
        higher = tl.maximum(most, tl.max(score, axis=0))
        share = tl.exp(score - higher)
        fade = tl.exp(most - higher)
        values = tl.load(value + where, mask=real[:, None], other=0.0)
        mixed = mixed * fade + tl.sum(share[:, None] * values, axis=0)
        total = total * fade + tl.sum(share, axis=0)
        most = higher
    tl.store(out + ((batch * steps + step) * HEADS + head) * D + d, mixed / total)


@triton.jit
def _read(
    look, reference, value, out,
    vb, vc, vy, vx, steps, height, wide,
    HEADS: tl.constexpr, POINTS: tl.constexpr, ROOM: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    row, head = tl.program_id(0), tl.program_id(1)
    p, d = tl.arange(0, ROOM), tl.arange(0, D)
    real = p < POINTS
    mine = look + ((row * HEADS + head) * POINTS + p) * 3
    across = tl.load(mine, mask=real, other=0.0)
    down = tl.load(mine + 1, mask=real, other=0.0)
    weight = tl.load(mine + 2, mask=real, other=float("-inf"))
    weight = tl.exp(weight - tl.max(weight, axis=0))
    weight = weight / tl.sum(weight, axis=0)
    # In cells, the first one's centre at 0, as grid_sample without align_corners has it.
    x = tl.load(reference + row * 2) * wide + across - 0.5
    y = tl.load(reference + row * 2 + 1) * height + down - 0.5
    left, top = tl.floor(x), tl.floor(y)
    maps = value + (row // steps) * vb + (head * D + d[None, :]) * vc
    mixed = tl.zeros([D], dtype=tl.float32)
    for i in tl.static_range(2):
        for j in tl.static_range(2):
            column, line = left + i, top + j
            share = (1 - tl.abs(x - column)) * (1 - tl.abs(y - line)) * weight
            inside = real & (column >= 0) & (column < wide) & (line >= 0) & (line < height)
            at = line.to(tl.int32) * vy + column.to(tl.int32) * vx
            seen = tl.load(maps + at[:, None], mask=inside[:, None], other=0.0)
            mixed += tl.sum(tl.where(inside, share, 0.0)[:, None] * seen, axis=0)
    tl.store(out + row * HEADS * D + head * D + d, mixed)
