from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from capetune.models.estimator import PoseEstimator
from capetune.models.generate import generate
from capetune.models.tokens import Kind, bins
from capetune.pose import Batch, Prediction


@pytest.fixture
def model(shared_model: Callable, sequence: str, support_at_step: bool) -> PoseEstimator:
    return shared_model(sequence, support_at_step)


@torch.no_grad()
def run(model: PoseEstimator, batch: Batch, cached: bool = True) -> Prediction:
    return generate(model.decoder, model.remember(batch, model.backbone(batch.images)), cached)


@pytest.mark.parametrize("counts", [(1,), (5, 3), (2, 9, 1), (68,)])
def test_generation_emits_one_point_per_keypoint(
    model: PoseEstimator, make_batch: Callable, counts: tuple[int, ...]
) -> None:
    batch = make_batch(*counts)
    out = run(model, batch)
    assert out.xy.shape == (len(counts), max(counts), 2)
    assert out.score.shape == (len(counts), max(counts))
    real = batch.joints
    assert ((out.xy[real] >= 0) & (out.xy[real] <= 1)).all()
    assert ((out.score[real] > 0) & (out.score[real] < 1)).all()
    assert not out.xy[~real].any()
    assert not out.score[~real].any()


def test_cached_equals_uncached(model: PoseEstimator, make_batch: Callable) -> None:
    batch = make_batch(7, 4)
    cached, plain = run(model, batch), run(model, batch, cached=False)
    torch.testing.assert_close(cached.xy, plain.xy, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(cached.score, plain.score, atol=1e-5, rtol=1e-4)


def test_teacher_forcing_the_generated_pose_predicts_it_again(model: PoseEstimator, make_batch: Callable) -> None:
    """Generation and training see the same tokens at the same steps; the score is the probability of the bins."""
    batch = make_batch(6, 4)
    out = run(model, batch)
    with torch.no_grad():
        forced = model(replace(batch, target=out.xy, visible=batch.joints))
    plan = model.decoder.plan(6, batch.joints.device)
    points, log = forced.points[-1], forced.logits[-1].log_softmax(-1)
    for keypoint in range(6):
        own = plan.keypoint == keypoint
        at = [
            int((own & (plan.kind == kind)).nonzero()[0])
            for kind in (Kind.X, Kind.Y)
            if (own & (plan.kind == kind)).any()
        ]
        at = at or [keypoint] * 2
        axes = (0, 0) if model.config.sequence == "xy" else (0, 1)
        ids = bins(out.xy[:, keypoint], model.config.vocabulary)
        for row in batch.joints[:, keypoint].nonzero().flatten().tolist():
            again = torch.stack([points[row, at[0], 0], points[row, at[1], 1]])
            torch.testing.assert_close(again, out.xy[row, keypoint], atol=1e-5, rtol=0)
            total = sum(log[row, step, axis, ids[row, a]] for a, (step, axis) in enumerate(zip(at, axes, strict=True)))
            torch.testing.assert_close((total / 2).exp(), out.score[row, keypoint], atol=1e-5, rtol=1e-3)


def test_generation_reads_nothing_of_the_annotation(model: PoseEstimator, make_batch: Callable) -> None:
    batch = make_batch(5, 3)
    poisoned = replace(
        batch,
        target=torch.full_like(batch.target, torch.nan),
        visible=~batch.visible,
        to_source=torch.full_like(batch.to_source, torch.nan),
        side=torch.full_like(batch.side, torch.nan),
        ids=batch.ids + 10**15,
    )
    got, wanted = model.predict(poisoned), model.predict(batch)
    assert torch.equal(got.xy, wanted.xy)
    assert torch.equal(got.score, wanted.score)


def test_a_neighbour_in_the_batch_changes_nothing(model: PoseEstimator, make_batch: Callable, alone: Callable) -> None:
    batch = make_batch(8, 3, 5)
    together = model.predict(batch)
    for row, count in enumerate((8, 3, 5)):
        single = model.predict(alone(batch, row))
        torch.testing.assert_close(single.xy[0], together.xy[row, :count], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(single.score[0], together.score[row, :count], atol=1e-5, rtol=1e-3)


def test_what_was_generated_enters_the_next_step(model: PoseEstimator, make_batch: Callable) -> None:
    """The start of keypoint 0's search moves keypoint 0, and through its token those after it."""
    batch = make_batch(5)
    with torch.no_grad():
        memory = model.remember(batch, model.backbone(batch.images))
        start = memory.start.clone()
        start[0, 0] = 1 - start[0, 0]
        change = (generate(model.decoder, replace(memory, start=start)).xy - generate(model.decoder, memory).xy).abs()
    assert change[0].amax(-1).min() > 1e-6


def test_generation_is_repeatable_and_leaves_no_graph(model: PoseEstimator, make_batch: Callable) -> None:
    batch = make_batch(4, 2)
    first, second = model.predict(batch), model.predict(batch)
    assert torch.equal(first.xy, second.xy)
    assert not first.xy.requires_grad
