from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from capetune.datasets.packs.crop import PADDING
from capetune.models.estimator import PoseEstimator
from capetune.models.generate import NEAR, first_pass, generate, places, share_near
from capetune.models.tokens import SPECIALS, Kind, entering, layout
from capetune.pose import Batch, Prediction


@pytest.fixture
def model(shared_model: Callable, sequence: str, option: str) -> PoseEstimator:
    return shared_model(sequence, option)


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


@torch.no_grad()
def test_teacher_forcing_the_generated_pose_predicts_it_again(model: PoseEstimator, make_batch: Callable) -> None:
    """Generation and training see the same tokens at the same steps; the score is the tokens' share of places near."""
    batch = make_batch(6, 4)
    out, plan, real = run(model, batch), model.decoder.plan(6, batch.joints.device), batch.joints
    guess, _ = first_pass(model.decoder, model.remember(batch, model.backbone(batch.images)), plan)
    forced = model(replace(batch, target=guess * real.unsqueeze(-1), visible=real))
    torch.testing.assert_close(forced.forced[real], out.xy[real], atol=1e-5, rtol=0)
    first = model.config.decoder.layers - 1  # the last layer of the first pass
    again = places(plan, forced.logits[first], forced.points[first], model.config)
    torch.testing.assert_close(again[real], guess[real], atol=1e-5, rtol=0)
    vocabulary = model.config.vocabulary
    share, places_of = forced.logits[-1][..., :vocabulary].softmax(-1), torch.linspace(0, 1, vocabulary)
    for keypoint in range(6):
        own = plan.keypoint == keypoint
        at = [int((own & (plan.kind == k)).nonzero()[0]) for k in (Kind.X, Kind.Y) if (own & (plan.kind == k)).any()]
        steps, axes = (at, (0, 0)) if at else ((keypoint, keypoint), (0, 1))
        for row in real[:, keypoint].nonzero().flatten().tolist():
            across, down = (share[row, steps[a], axes[a]] for a in (0, 1))
            x, y = out.xy[row, keypoint]
            near = (places_of[:, None] - x) ** 2 + (places_of - y) ** 2 < NEAR**2
            total = (across[:, None] * down)[near].sum()
            torch.testing.assert_close(total, out.score[row, keypoint], atol=1e-5, rtol=1e-3)


@torch.no_grad()
def test_the_second_pass_lets_every_keypoint_see_the_whole_first_guess(
    make_model: Callable, make_batch: Callable
) -> None:
    """Moving the guess of the last keypoint moves the first, which was written before it."""
    model, batch = make_model(refine=True), make_batch(5)
    memory, plan = model.remember(batch, model.backbone(batch.images)), model.decoder.plan(5, batch.joints.device)
    guess = batch.template.clone()
    moved = guess.clone()
    moved[0, 4] = 1 - moved[0, 4]
    before, after = (
        model.decoder(plan, entering(plan, seen), model.decoder.refining(memory, seen))[1][-1]
        for seen in (guess, moved)
    )
    assert (before[0, 0] - after[0, 0]).abs().max() > 1e-5


@torch.no_grad()
def test_a_place_is_read_off_the_head_the_tokens_or_both(make_config: Callable) -> None:
    plan = layout("point", 1)
    logits = torch.full((1, 2, 2, 5 + SPECIALS), -30.0)
    logits[0, 0, 0, [1, 3]] = 0.0  # x: bins 1 and 3 of 5, equally likely
    logits[0, 0, 1, [0, SPECIALS + 4]] = 5.0  # y: bin 0; a special token is no place
    points = torch.tensor([[[0.9, 0.4], [0.0, 0.0]]])
    for decode, wanted in (("head", [0.9, 0.4]), ("expectation", [0.5, 0.0]), ("both", [0.7, 0.2])):
        got = places(
            plan, logits, points, make_config(vocabulary=8, decode=decode).model_copy(update={"vocabulary": 5})
        )
        torch.testing.assert_close(got[0, 0], torch.tensor(wanted), atol=1e-4, rtol=0)


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


def test_near_is_what_pck_at_a_tenth_calls_so() -> None:
    assert pytest.approx(0.1) == NEAR * PADDING


@pytest.mark.parametrize(
    ("places", "at", "share"),
    [
        ([(0.5, 0.5)], (0.5, 0.5), 1.0),
        ([(0.5, 0.5)], (0.57, 0.5), 1.0),
        ([(0.5, 0.5)], (0.57, 0.57), 0.0),  # nearer than NEAR on each axis, not in the plane
        ([(0.5, 0.5), (0.9, 0.5)], (0.5, 0.5), 0.5),
        ([(0.0, 1.0)], (0.0, 1.0), 1.0),
    ],
)
def test_a_score_is_the_share_of_places_near(places: list, at: tuple[float, float], share: float) -> None:
    vocabulary = 101
    logits = torch.full((1, 2, 2, vocabulary + SPECIALS), -1e9)
    for x, y in places:
        logits[0, 0, 0, round(x * 100)] = logits[0, 0, 1, round(y * 100)] = 0
    found = share_near(layout("point", 1), logits, torch.tensor([[at]]), vocabulary)
    assert found.item() == pytest.approx(share, abs=1e-5)
