"""The kernels in Triton's interpreter, which is asked for before Triton is imported: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="PyTorch brings Triton on Linux only")

PROGRAM = """
import torch
from torch.nn import functional as F
from capetune.models import kernels
from capetune.models.deformable import DeformableAttention

torch.manual_seed(0)
for heads, queries, keys, width in ((4, 1, 5, 16), (4, 3, 69, 32), (8, 2, 130, 4)):
    q = torch.randn(2, heads, queries, width)
    k, v = (torch.randn(2, keys, heads, width).transpose(1, 2) for _ in range(2))
    mask = torch.rand(queries, keys) < 0.6
    mask[:, 0] = True
    padding = torch.zeros(2, 1, 1, keys).masked_fill(~mask[0], -torch.inf)
    for bias in (None, torch.zeros(queries, keys).masked_fill(~mask, -torch.inf), padding):
        wanted = F.scaled_dot_product_attention(q, k, v, bias).transpose(1, 2).flatten(2)
        torch.testing.assert_close(kernels.attend(q, k, v, bias), wanted)
for points in (1, 4, 5):
    attention = DeformableAttention(32, 4, points)
    torch.nn.init.normal_(attention.look.weight)
    x, reference, (value,) = torch.randn(2, 3, 32), torch.rand(2, 3, 2), attention.project((torch.randn(2, 32, 6, 8),))
    wanted = attention(x, reference, (value,))
    look = attention.look(x).view(2, 3, 4, points, 3)
    for maps in (value, value.contiguous(memory_format=torch.channels_last)):
        got = attention.out(kernels.read(look, reference, maps, 4))
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
print("equal")
"""


def test_kernels_give_what_pytorch_gives() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    ran = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=200)
    assert ran.stdout.strip() == "equal", ran.stderr[-2000:]
