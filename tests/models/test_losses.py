from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from capetune.config import LossConfig
from capetune.models.estimator import PoseEstimator
from capetune.models.losses import coordinate_loss, token_loss, total_loss
from capetune.models.tokens import Kind, layout, tokenize
from capetune.pose import Batch

V = 16


def poses(sequence: str, visible: list[bool], count: int = 3):
    """Random logits and points for one pose of three keypoints, the first `count` real."""
    rng = torch.Generator().manual_seed(0)
    joints = torch.arange(3).unsqueeze(0) < count
    tokens = tokenize(sequence, V, torch.rand(1, 3, 2, generator=rng), joints, torch.tensor([visible]) & joints)
    logits = torch.randn(*tokens.ids.shape, V + 4, generator=rng)
    points = torch.rand(1, tokens.ids.shape[1], 2, generator=rng)
    return logits.requires_grad_(), points.requires_grad_(), tokens


def test_uniform_logits_cost_the_logarithm_of_the_ids(sequence: str) -> None:
    logits, _, tokens = poses(sequence, [True, True, False])
    assert token_loss(torch.zeros_like(logits), tokens).item() == pytest.approx(math.log(V + 4))


def test_smoothing_teaches_the_bins_beside_the_true_one_and_no_structure(sequence: str) -> None:
    """What a smoothed target wants most is a normal distribution around the bin, not certainty."""
    _, _, tokens = poses(sequence, [True] * 3)
    sure = torch.nn.functional.one_hot(tokens.ids, V + 4) * 100.0
    assert token_loss(sure, tokens, 1.0) > 1
    bell = torch.exp(-0.5 * (torch.arange(V) - tokens.ids.unsqueeze(-1)).square()).log()
    wanted = torch.cat([bell, torch.full((*tokens.ids.shape, 4), -100.0)], dim=-1)
    wanted = torch.where((tokens.ids < V).unsqueeze(-1), wanted, sure)
    best = wanted.clone().requires_grad_()
    token_loss(best, tokens, 1.0).backward()
    torch.testing.assert_close(best.grad, torch.zeros_like(best), atol=1e-6, rtol=0)


def test_hardly_any_smoothing_is_none(sequence: str) -> None:
    logits, _, tokens = poses(sequence, [True, False, True])
    torch.testing.assert_close(token_loss(logits, tokens, 0.01), token_loss(logits, tokens))


def test_certain_and_right_costs_nothing(sequence: str) -> None:
    _, _, tokens = poses(sequence, [True] * 3)
    sure = torch.nn.functional.one_hot(tokens.ids, V + 4) * 100.0
    assert token_loss(sure, tokens).item() == pytest.approx(0, abs=1e-6)
    assert coordinate_loss(tokens.xy, tokens).item() == 0


def test_coordinate_loss_is_l1_over_both_axes(sequence: str) -> None:
    _, _, tokens = poses(sequence, [True, False, True])
    off = tokens.xy + torch.tensor([0.1, -0.2])
    assert coordinate_loss(off, tokens).item() == pytest.approx(0.3)


def test_losses_look_at_visible_keypoints_only(sequence: str) -> None:
    logits, points, tokens = poses(sequence, [True, False, True])
    (token_loss(logits, tokens) + coordinate_loss(points, tokens)).backward()
    plan = layout(sequence, 3)
    coordinate, hidden = plan.kind >= Kind.X, plan.keypoint == 1
    touched = logits.grad[0].flatten(1).any(1)
    assert torch.equal(touched, ~(coordinate & hidden))  # structure, <eos> and the visible coordinates
    assert torch.equal(points.grad[0].any(1), coordinate & ~hidden)


def test_eos_is_learned_and_padding_after_it_isnt(sequence: str) -> None:
    logits, _, tokens = poses(sequence, [True] * 3, count=1)
    token_loss(logits, tokens).backward()
    end = 4 if sequence == "xy" else 1
    touched = logits.grad[0].flatten(1).any(1)
    assert touched.tolist() == [step <= end for step in range(len(touched))]
    assert (logits.grad[0, end, :, V + Kind.EOS] < 0).all()


def test_nothing_visible_is_finite_and_has_gradients(sequence: str) -> None:
    logits, points, tokens = poses(sequence, [False] * 3)
    losses = total_loss([logits], [points], tokens, LossConfig())
    losses["loss"].backward()
    assert math.isfinite(losses["loss"].item())
    assert losses["coordinates"].item() == 0
    assert torch.isfinite(logits.grad).all()
    assert not points.grad.any()


def test_weights_act(sequence: str) -> None:
    logits, points, tokens = poses(sequence, [True] * 3)
    ce, l1 = token_loss(logits, tokens).item(), coordinate_loss(points, tokens).item()
    for a, b in ((1.0, 5.0), (0.0, 2.0), (0.3, 0.0)):
        losses = total_loss([logits], [points], tokens, LossConfig(tokens=a, coordinates=b))
        assert losses["loss"].item() == pytest.approx(a * ce + b * l1)
        assert losses["tokens"].item() == pytest.approx(ce)
        assert losses["coordinates"].item() == pytest.approx(l1)


def test_every_layer_is_supervised_and_the_last_one_reported(sequence: str) -> None:
    first, second = poses(sequence, [True] * 3), poses(sequence, [True] * 3)
    tokens = first[2]
    with torch.no_grad():
        second[0].mul_(3)
    losses = total_loss([first[0], second[0]], [first[1], second[1]], tokens, LossConfig())
    each = [total_loss([a], [b], tokens, LossConfig())["loss"].item() for a, b, _ in (first, second)]
    assert losses["loss"].item() == pytest.approx(sum(each))
    assert losses["tokens"].item() == pytest.approx(token_loss(second[0], tokens).item())
    losses["loss"].backward()
    assert all(x.grad.any() for x in (*first[:2], *second[:2]))


def test_bfloat16_logits_are_summed_in_float32(sequence: str) -> None:
    logits, points, tokens = poses(sequence, [True] * 3)
    half = total_loss([logits.bfloat16()], [points.bfloat16()], tokens, LossConfig())["loss"]
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(total_loss([logits], [points], tokens, LossConfig())["loss"].item(), rel=0.02)


@torch.no_grad()
def losses_of(model: PoseEstimator, batch: Batch) -> dict[str, tuple[float, int]]:
    """(mean, how many) of each loss at the last layer."""
    out = model(batch)
    return {
        "tokens": (token_loss(out.logits[-1], out.tokens).item(), int(out.tokens.token_loss.sum())),
        "coordinates": (coordinate_loss(out.points[-1], out.tokens).item(), int(out.tokens.point_loss.sum())),
    }


def test_padded_samples_contribute_what_they_do_alone(
    shared_model: Callable, make_batch: Callable, alone: Callable, sequence: str
) -> None:
    model, batch = shared_model(sequence), make_batch(7, 3, 4, hidden=0.3)
    together = losses_of(model, batch)
    single = [losses_of(model, alone(batch, row)) for row in range(3)]
    for name, (mean, count) in together.items():
        assert count == sum(s[name][1] for s in single)
        assert mean * count == pytest.approx(sum(s[name][0] * s[name][1] for s in single), rel=1e-4)


def test_targets_of_hidden_keypoints_change_nothing(
    shared_model: Callable, make_batch: Callable, sequence: str
) -> None:
    model, batch = shared_model(sequence), make_batch(6, 4, hidden=0.4)
    assert (batch.joints & ~batch.visible).any()
    for value in (0.77, torch.nan):
        other = replace(batch, target=torch.where(batch.visible.unsqueeze(-1), batch.target, value))
        assert losses_of(model, other) == losses_of(model, batch)


@pytest.mark.parametrize("smoothing", [0.0, 1.0])
def test_losses_of_each_pose_are_those_it_has_alone(
    shared_model: Callable[..., PoseEstimator], make_batch: Callable, alone: Callable, sequence: str, smoothing: float
) -> None:
    model, config = shared_model(sequence, "refine"), LossConfig(smoothing=smoothing)
    batch = make_batch(7, 3, 5, 1, hidden=0.4, seed=3)
    with torch.no_grad():
        out = model(batch)
        each = total_loss(out.logits, out.points, out.tokens, config, each=True)
        for row in range(4):
            single = model(alone(batch, row))
            wanted = total_loss(single.logits, single.points, single.tokens, config)
            for name, value in wanted.items():
                torch.testing.assert_close(each[name][row], value, atol=1e-5, rtol=1e-4)
