from __future__ import annotations

import pytest
import torch

from capetune.models.deformable import DeformableAttention


@pytest.fixture
def attention() -> DeformableAttention:
    """Reads its value map at the reference and gives back what it reads."""
    torch.manual_seed(0)
    module = DeformableAttention(8, heads=2, points=3)
    with torch.no_grad():
        for linear in (module.value, module.out):
            linear.weight.copy_(torch.eye(8))
            linear.bias.zero_()
        module.look.bias.zero_()
    return module


def bilinear(value: torch.Tensor, x: float, y: float) -> torch.Tensor:
    """value: (C, h, w). x, y in [0, 1], cell centres at (i + 0.5) / n. Zero beyond the map."""
    height, wide = value.shape[1:]
    column, row = x * wide - 0.5, y * height - 0.5
    total = torch.zeros(value.shape[0])
    for j in (int(column // 1), int(column // 1) + 1):
        for i in (int(row // 1), int(row // 1) + 1):
            if 0 <= i < height and 0 <= j < wide:
                total += (1 - abs(column - j)) * (1 - abs(row - i)) * value[:, i, j]
    return total


@pytest.mark.parametrize(("height", "wide"), [(4, 4), (3, 7), (6, 2), (1, 1)])
def test_without_offsets_it_reads_the_reference_bilinearly(
    attention: DeformableAttention, height: int, wide: int
) -> None:
    (value,) = attention.project((torch.randn(2, 8, height, wide),))
    reference = torch.rand(2, 5, 2)
    read = attention(torch.randn(2, 5, 8), reference, (value,))
    for b in range(2):
        for t in range(5):
            torch.testing.assert_close(read[b, t], bilinear(value[b], *reference[b, t].tolist()), atol=1e-5, rtol=0)


def test_x_is_across_and_y_is_down(attention: DeformableAttention) -> None:
    value = torch.zeros(1, 8, 3, 5)
    value[0, :, 2, 1] = 1.0
    centre = torch.tensor([[[1.5 / 5, 2.5 / 3]]])
    torch.testing.assert_close(attention(torch.randn(1, 1, 8), centre, (value,)), torch.ones(1, 1, 8))


def test_offsets_are_in_cells(attention: DeformableAttention) -> None:
    value = torch.randn(1, 8, 4, 6)
    with torch.no_grad():
        attention.look.bias.view(6, 3)[:, :2] = torch.tensor([2.0, -1.0])
    read = attention(torch.zeros(1, 1, 8), torch.tensor([[[1.5 / 6, 2.5 / 4]]]), (value,))
    torch.testing.assert_close(read[0, 0], value[0, :, 1, 3])


def test_beyond_the_map_is_zero(attention: DeformableAttention) -> None:
    outside = torch.tensor([[[1.6, 0.5], [-0.6, 0.5], [0.5, 9.0]]])
    read = attention(torch.randn(1, 3, 8), outside, (torch.randn(1, 8, 2, 2) + 5,))
    assert not read.any()


def test_points_are_mixed_by_their_weights(attention: DeformableAttention) -> None:
    value = torch.randn(1, 8, 1, 3)
    with torch.no_grad():
        look = attention.look.bias.view(2, 3, 3)
        look[..., :2] = torch.tensor([[-1.0, 0], [0, 0], [1, 0]])
        look[1, 0, 2] = 9.0
    read = attention(torch.zeros(1, 1, 8), torch.full((1, 1, 2), 0.5), (value,))[0, 0]
    torch.testing.assert_close(read[:4], value[0, :4, 0].mean(-1))  # first head: equal shares
    torch.testing.assert_close(read[4:], value[0, 4:, 0, 0], atol=0.01, rtol=0)  # second head: its first point


def test_gradients_reach_offsets_weights_and_values() -> None:
    torch.manual_seed(0)
    attention = DeformableAttention(8, heads=2, points=3)
    features = torch.randn(2, 8, 5, 5, requires_grad=True)
    attention(torch.randn(2, 4, 8), torch.rand(2, 4, 2), attention.project((features,))).square().sum().backward()
    for name, weight in attention.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name
    assert features.grad.abs().sum() > 0


def test_heads_start_by_looking_in_different_directions() -> None:
    attention = DeformableAttention(16, heads=4, points=2)
    places = attention.look.bias.view(4, 2, 3)[..., :2]
    assert len(torch.unique(places.flatten(0, 1).round(decimals=4), dim=0)) == 8
    torch.testing.assert_close(places.abs().amax(-1), torch.tensor([[1.0, 2.0]]).expand(4, 2))


def test_a_channels_last_map_is_laid_out_once() -> None:
    attention = DeformableAttention(8, heads=2, points=3)
    (value,) = attention.project((torch.randn(2, 8, 5, 5).contiguous(memory_format=torch.channels_last),))
    assert value.is_contiguous()


def test_each_map_is_read_in_its_own_cells() -> None:
    """Two maps, one fine and one coarse: equal shares of what lies at the reference in each."""
    attention = DeformableAttention(8, heads=2, points=1, levels=2)
    with torch.no_grad():
        for linear in (attention.value, attention.out):
            linear.weight.copy_(torch.eye(8))
            linear.bias.zero_()
        attention.look.bias.view(2, 2, 3)[..., :2] = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    fine, coarse = torch.randn(1, 8, 4, 4), torch.randn(1, 8, 2, 2)
    read = attention(torch.zeros(1, 1, 8), torch.tensor([[[0.375, 0.25]]]), (fine, coarse))[0, 0]
    # One cell to the right in the fine map, one down in the coarse one.
    wanted = (bilinear(fine[0], 0.375 + 0.25, 0.25) + bilinear(coarse[0], 0.375, 0.25 + 0.5)) / 2
    torch.testing.assert_close(read, wanted, atol=1e-5, rtol=0)
