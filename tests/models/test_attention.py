from __future__ import annotations

import pytest
import torch

from capetune.models.attention import Attention, additive, sinusoid


@pytest.fixture
def attention() -> Attention:
    torch.manual_seed(0)
    return Attention(16, 4, dropout=0.0)


def test_true_in_the_mask_means_attend(attention: Attention) -> None:
    x, source = torch.randn(2, 3, 16), torch.randn(2, 5, 16)
    mask = torch.zeros(3, 5, dtype=torch.bool)
    mask[0, 4] = mask[1, 2] = mask[2, 0] = True
    got = attention(x, *attention.project(source), additive(mask))
    # With one key to attend to, a query gets that key's value, whatever it asks for.
    value = attention.out(attention.into(source)[..., 32:])
    torch.testing.assert_close(got, value[:, [4, 2, 0]])


def test_attention_equals_softmax_of_scaled_products(attention: Attention) -> None:
    x = torch.randn(2, 6, 16)
    mask = torch.rand(2, 1, 6, 6) < 0.6
    mask |= torch.eye(6, dtype=torch.bool)
    got = attention(x, *attention.project(x), additive(mask))
    query, key, value = attention.into(x).chunk(3, dim=-1)
    heads = []
    for h in range(4):
        own = slice(4 * h, 4 * h + 4)
        product = query[..., own] @ key[..., own].transpose(1, 2) / 4**0.5
        weight = product.masked_fill(~mask[:, 0], -torch.inf).softmax(-1)
        heads.append(weight @ value[..., own])
    torch.testing.assert_close(got, attention.out(torch.cat(heads, dim=-1)))


@torch.no_grad()
def test_a_source_of_its_own_is_one_product_and_the_same(attention: Attention) -> None:
    x, before = torch.randn(2, 3, 16), torch.randn(2, 4, 16)
    bias = additive(torch.rand(3, 7) < 0.7)
    bias[:, 0] = 0
    source = attention.project(torch.cat([before, x], dim=1))
    made = attention.into(torch.cat([before, x], dim=1))
    past = torch.cat([made[:, :4], torch.full_like(made[:, 4:], torch.nan)], dim=1)
    got = attention.to_itself(x, bias, (past, torch.arange(4, 7)))
    torch.testing.assert_close(got, attention(x, *source, bias))
    torch.testing.assert_close(past, made)


def test_no_bias_is_a_mask_of_true(attention: Attention) -> None:
    x, source = torch.randn(2, 3, 16), attention.project(torch.randn(2, 5, 16))
    torch.testing.assert_close(attention(x, *source, None), attention(x, *source, additive(torch.ones(3, 5).bool())))


def test_dropout_acts_in_training_only() -> None:
    attention = Attention(16, 4, dropout=0.5)
    x = torch.randn(1, 8, 16)

    def twice() -> tuple[torch.Tensor, torch.Tensor]:
        first, second = (attention(x, *attention.project(x), None) for _ in range(2))
        return first, second

    assert not torch.equal(*twice())
    attention.eval()
    assert torch.equal(*twice())


@pytest.mark.parametrize("width", [1, 7, 16, 31])
def test_sinusoid_has_the_width_asked_for_and_tells_positions_apart(width: int) -> None:
    code = sinusoid(torch.arange(70), width)
    assert code.shape == (70, width)
    assert code.abs().max() <= 1
    assert len(torch.unique(code, dim=0)) == 70


def test_sinusoid_starts_at_sine_zero_and_cosine_one() -> None:
    torch.testing.assert_close(sinusoid(torch.tensor(0), 8), torch.tensor([0.0] * 4 + [1.0] * 4))
