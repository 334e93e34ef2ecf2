from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from capetune.models.attention import sinusoid
from capetune.models.decoder import Memory
from capetune.models.estimator import PoseEstimator
from capetune.models.tokens import Kind, entering, layout
from capetune.pose import Batch


@pytest.fixture
def model(shared_model: Callable, sequence: str, option: str) -> PoseEstimator:
    return shared_model(sequence, option)


@torch.no_grad()
def remember(model: PoseEstimator, batch: Batch) -> Memory:
    return model.remember(batch, model.backbone(batch.images))


@torch.no_grad()
def decode(model: PoseEstimator, memory: Memory, xy: torch.Tensor, chunks: tuple[int, ...] = ()) -> list[torch.Tensor]:
    """Logits and points of all layers and steps, with poses xy (B, K, 2) entering in pieces of the given lengths."""
    plan = model.decoder.plan(xy.shape[1], xy.device)
    into = entering(plan, xy)
    if not chunks:
        logits, points = model.decoder(plan, into, memory)
        return logits + points
    cache, pieces = model.decoder.cache(len(xy), into.shape[1], xy.device), []
    for piece in into.split(list(chunks), dim=1):
        logits, points = model.decoder(plan, piece, memory, cache)
        pieces.append(logits + points)
    assert cache.steps == into.shape[1]
    return [torch.cat(parts, dim=1) for parts in zip(*pieces, strict=True)]


def test_shapes_and_ranges(model: PoseEstimator, make_batch: Callable) -> None:
    batch = make_batch(5, 3)
    out = decode(model, remember(model, batch), batch.target)
    steps, axes = (21, 1) if model.config.sequence == "xy" else (6, 2)
    assert [tuple(o.shape) for o in out] == [(2, steps, axes, 28)] * 2 + [(2, steps, 2)] * 2
    for points in out[2:]:
        assert points.min() > 0
        assert points.max() < 1


@pytest.mark.parametrize("seed", range(3))
def test_steps_in_any_pieces_equal_all_at_once(model: PoseEstimator, make_batch: Callable, seed: int) -> None:
    batch = make_batch(5, 3)
    memory = remember(model, batch)
    total = 21 if model.config.sequence == "xy" else 6
    rng = torch.Generator().manual_seed(seed)
    cuts = sorted({0, total, *torch.randint(1, total, (seed + 1,), generator=rng).tolist()})
    sizes = tuple(b - a for a, b in itertools.pairwise(cuts))
    for chunks in (sizes, (1,) * total):
        wanted = decode(model, memory, batch.target)
        for got, want in zip(decode(model, memory, batch.target, chunks), wanted, strict=True):
            torch.testing.assert_close(got, want, atol=2e-5, rtol=1e-5)


def test_later_tokens_dont_change_earlier_steps(model: PoseEstimator, make_batch: Callable) -> None:
    batch = make_batch(5)
    memory = remember(model, batch)
    plan = model.decoder.plan(5, batch.joints.device)
    moved = batch.target.clone()
    moved[0, 2] = 1 - moved[0, 2]
    # The first step that may see keypoint 2 is the one after its first coordinate token.
    first = int(((plan.keypoint == 2) & (plan.kind >= Kind.X)).nonzero()[0]) + 1
    for got, before in zip(decode(model, memory, moved), decode(model, memory, batch.target), strict=True):
        assert torch.equal(got[:, :first], before[:, :first])
        assert (got[:, first:] - before[:, first:]).abs().flatten(2).amax(-1).min() > 1e-5


def test_y_isnt_seen_where_x_enters(shared_model: Callable, make_batch: Callable) -> None:
    model, batch = shared_model("xy"), make_batch(3)
    memory = remember(model, batch)
    moved = batch.target.clone()
    moved[0, 1, 1] = 1 - moved[0, 1, 1]
    y_enters = 4 + 3  # <coord> x y <sep> | <coord> x y: predicted at steps 4 5 6, y enters at 7
    for got, before in zip(decode(model, memory, moved), decode(model, memory, batch.target), strict=True):
        assert torch.equal(got[:, :y_enters], before[:, :y_enters])
        assert not torch.equal(got[:, y_enters], before[:, y_enters])


def test_entering_is_the_token_before() -> None:
    xy = torch.tensor([[[0.1, 0.2], [0.3, 0.4]]])
    for sequence, wanted in (
        ("xy", [[0, 0], [0, 0], [0.1, 0.2], [0.1, 0.2], [0, 0], [0, 0], [0.3, 0.4], [0.3, 0.4], [0, 0]]),
        ("point", [[0, 0], [0.1, 0.2], [0.3, 0.4]]),
    ):
        plan = layout(sequence, 2)
        torch.testing.assert_close(entering(plan, xy)[0], torch.tensor(wanted))


@pytest.mark.parametrize("part", ["values", "support", "start"])
def test_every_part_of_the_memory_is_used(model: PoseEstimator, make_batch: Callable, part: str) -> None:
    batch = make_batch(5)
    memory = remember(model, batch)
    if part == "support":
        noise: object = [(torch.randn_like(k), torch.randn_like(v)) for k, v in memory.support]
    elif part == "values":
        noise = [tuple(torch.randn_like(level) for level in values) for values in memory.values]
    else:
        noise = torch.rand_like(memory.start)
    other = decode(model, replace(memory, **{part: noise}), batch.target)
    for got, before in zip(other, decode(model, memory, batch.target), strict=True):
        assert (got - before).abs().flatten(2).amax(-1).min() > 1e-4


def test_step_embedding_acts_at_its_keypoint_and_after(model: PoseEstimator, make_batch: Callable) -> None:
    batch = make_batch(5)
    memory = remember(model, batch)
    step = memory.step.clone()
    step[0, 3] += torch.randn(32)
    plan = model.decoder.plan(5, step.device)
    first = int((plan.keypoint == 3).nonzero()[0])
    got = decode(model, replace(memory, step=step), batch.target)
    before = decode(model, memory, batch.target)
    for a, b in zip(got, before, strict=True):
        assert torch.equal(a[:, :first], b[:, :first])
        assert not torch.allclose(a[:, first], b[:, first], atol=1e-4)


@pytest.mark.parametrize("support_at_step", [True, False])
def test_steps_know_their_keypoints_edges_always_and_its_support_on_request(
    make_model: Callable, make_batch: Callable, support_at_step: bool
) -> None:
    model, batch = make_model(support_at_step=support_at_step), make_batch(5)
    features = (torch.zeros(1, 32, 4, 4),)
    support, edges = torch.randn(1, 5, 32), torch.randn(1, 5, 32)
    memory = model.decoder.remember(features, support, edges, batch.template, batch.joints)
    number = sinusoid(torch.arange(6), 32)
    assert torch.equal(memory.step[:, :5], edges + number[:5]) != support_at_step
    other = model.decoder.remember(features, support, edges + 1, batch.template, batch.joints)
    torch.testing.assert_close(other.step[:, :5], memory.step[:, :5] + 1)
    assert torch.equal(memory.step[:, 5], number[5:])
    assert torch.equal(memory.start[:, :5], batch.template)


def test_each_layer_looks_where_the_one_before_points(model: PoseEstimator, make_batch: Callable) -> None:
    batch, seen = make_batch(5, 3), []
    hooks = [layer.register_forward_pre_hook(lambda _, args: seen.append(args[1])) for layer in model.decoder.layers]
    out = model(batch)
    for hook in hooks:
        hook.remove()
    plan = model.decoder.plan(5, batch.joints.device)
    assert torch.equal(seen[0], remember(model, batch).start[:, plan.keypoint])
    assert torch.equal(seen[1], out.points[0])
    assert not seen[1].requires_grad  # each layer answers for its own points alone


def test_the_index_alone_tells_whose_turn_it_is(make_model: Callable, make_batch: Callable) -> None:
    """Not the support, not the template, not the tokens: those are the same at all steps here."""
    model, batch = make_model(support_at_step=False), make_batch(10)
    centre = torch.full((1, 10, 2), 0.5)
    with torch.no_grad():
        model.decoder.special.weight[Kind.BOS] = model.decoder.places(centre[0, 0])
    memory = remember(model, batch)
    numbers = sinusoid(torch.arange(11), 32).unsqueeze(0)
    flat = replace(memory, step=numbers, start=torch.full_like(memory.start, 0.5))
    points = decode(model, flat, centre)[-1][0]
    assert torch.cdist(points, points).add(torch.eye(11)).min() > 1e-4
