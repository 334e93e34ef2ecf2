from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from capetune.config import LossConfig, TrainConfig
from capetune.models.estimator import PoseEstimator
from capetune.models.losses import total_loss
from capetune.pose import Batch


@pytest.fixture
def model(shared_model: Callable, sequence: str, option: str) -> PoseEstimator:
    return shared_model(sequence, option)


@torch.no_grad()
def everything(model: PoseEstimator, batch: Batch) -> list[torch.Tensor]:
    """Teacher-forced logits and points of the last layer, generated places and scores."""
    out, generated = model(batch), model.predict(batch)
    return [out.logits[-1], out.points[-1], generated.xy, generated.score]


def assert_all_differ(model: PoseEstimator, batch: Batch, other: Batch, least: float = 1e-4) -> None:
    for got, before in zip(everything(model, other), everything(model, batch), strict=True):
        assert (got - before).abs().max() > least


def test_noise_for_a_support_changes_the_output(
    model: PoseEstimator, make_batch: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the authors' code it didn't: two inverted masks had made the support zero."""
    batch = make_batch(5, 4)
    before = everything(model, batch)

    def noise(template: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        shape = (*template.shape[:2], 32)
        edges = model.support.adjacency(batch.template, batch.adjacency)
        return torch.randn(shape, generator=torch.Generator().manual_seed(1)), edges

    monkeypatch.setattr(model.support, "forward", noise)
    for got, wanted in zip(everything(model, batch), before, strict=True):
        assert (got - wanted).abs().max() > 1e-3


def test_moving_one_template_keypoint_changes_the_output(model: PoseEstimator, make_batch: Callable) -> None:
    batch = make_batch(5)
    template = batch.template.clone()
    template[0, 3] = 1 - template[0, 3]
    assert_all_differ(model, batch, replace(batch, template=template))
    # Keypoint 3 is decoded later and is no neighbour of 0 in the ring: that one is reached through the support alone.
    change = model.predict(replace(batch, template=template)).xy - model.predict(batch).xy
    assert change[0, 0].abs().max() > 1e-5


def test_one_edge_changes_the_output(model: PoseEstimator, make_batch: Callable) -> None:
    batch = make_batch(6)
    graph = batch.adjacency.clone()
    graph[0, 1, 4] = graph[0, 4, 1] = True
    assert_all_differ(model, batch, replace(batch, adjacency=graph))


def test_an_unknown_template_keypoint_changes_the_output(model: PoseEstimator, make_batch: Callable) -> None:
    batch = make_batch(5)
    known = batch.template_known.clone()
    known[0, 2] = False
    assert_all_differ(model, batch, replace(batch, template_known=known), least=1e-5)


def test_the_image_changes_the_output(model: PoseEstimator, make_batch: Callable) -> None:
    batch = make_batch(5)
    assert_all_differ(model, batch, replace(batch, images=255 - batch.images))


def test_the_target_changes_teacher_forced_output_only(model: PoseEstimator, make_batch: Callable) -> None:
    batch = make_batch(5)
    logits, points, xy, score = everything(model, replace(batch, target=1 - batch.target))
    before = everything(model, batch)
    assert not torch.allclose(logits, before[0], atol=1e-4)
    assert not torch.allclose(points, before[1], atol=1e-4)
    assert torch.equal(xy, before[2])
    assert torch.equal(score, before[3])


def test_a_hidden_keypoint_enters_at_its_templates_place(model: PoseEstimator, make_batch: Callable) -> None:
    batch = make_batch(5)
    hidden = batch.visible.clone()
    hidden[0, 1] = False
    there = torch.where(hidden.unsqueeze(-1), batch.target, batch.template)
    with torch.no_grad():
        got, wanted = model(replace(batch, visible=hidden)), model(replace(batch, target=there))
    assert torch.equal(got.logits[-1], wanted.logits[-1])


def real_steps(model: PoseEstimator, count: int) -> int:
    return 4 * count + 1 if model.config.sequence == "xy" else count + 1


def test_a_sample_alone_equals_itself_beside_a_larger_one(
    model: PoseEstimator, make_batch: Callable, alone: Callable
) -> None:
    batch = make_batch(8, 3, 5, hidden=0.3)
    together = everything(model, batch)
    for row, count in enumerate((8, 3, 5)):
        steps = real_steps(model, count)
        for i, single in enumerate(everything(model, alone(batch, row))):
            length = steps if i < 2 else count
            assert single.shape[1] == length
            torch.testing.assert_close(single[0], together[i][row, :length], atol=2e-5, rtol=1e-3)


def test_noise_in_padding_changes_nothing(model: PoseEstimator, make_batch: Callable) -> None:
    batch = make_batch(7, 3)
    noisy = {name: getattr(batch, name).clone() for name in ("template", "template_known", "target", "visible")}
    noisy["template"][1, 3:] = torch.nan
    noisy["template_known"][1, 3:] = True
    noisy["target"][1, 3:] = torch.rand(4, 2)
    noisy["visible"][1, 3:] = True
    graph = batch.adjacency.clone()
    graph[1, 3:] = graph[1, :, 3:] = True
    noise = replace(batch, adjacency=graph, **noisy)
    length = real_steps(model, 3)
    for i, (got, before) in enumerate(zip(everything(model, noise), everything(model, batch), strict=True)):
        assert torch.equal(got[0], before[0])
        assert torch.equal(got[1, :length], before[1, :length]) if i < 2 else torch.equal(got[1], before[1])
    losses = [total_loss(o.logits, o.points, o.tokens, LossConfig()) for o in (model(noise), model(batch))]
    assert losses[0]["loss"].item() == losses[1]["loss"].item()


def test_features_at_hand_equal_features_of_the_images(model: PoseEstimator, make_batch: Callable) -> None:
    batch = make_batch(4, 3)
    blind = replace(batch, images=torch.zeros(2, 3, 0, 0, dtype=torch.uint8))
    with torch.no_grad():
        kept = model.backbone.features(batch.images)
        features = model.backbone.embed(kept)
        assert torch.equal(model(blind, kept=kept).logits[-1], model(batch).logits[-1])
    assert torch.equal(model.predict(blind, features).xy, model.predict(batch).xy)


def test_input_noise_moves_what_enters_not_what_is_asked(model: PoseEstimator, make_batch: Callable) -> None:
    batch = make_batch(5)
    torch.manual_seed(0)
    with torch.no_grad():
        noisy, clean = model(batch, TrainConfig(input_noise=0.1)), model(batch)
    assert torch.equal(noisy.tokens.xy, clean.tokens.xy)
    first = 2 if model.config.sequence == "xy" else 1  # nothing of the target has entered before
    last = model.config.decoder.layers - 1  # of the first pass; a second one sees the whole guess at every step
    assert torch.equal(noisy.logits[last][:, :first], clean.logits[last][:, :first])
    assert not torch.allclose(noisy.logits[last][:, first], clean.logits[last][:, first], atol=1e-4)


def test_every_trained_weight_gets_a_gradient(
    frozen_model: Callable, make_batch: Callable, sequence: str, option: str
) -> None:
    """DistributedDataParallel stops at a weight that gets none."""
    model = frozen_model(sequence, option).train()
    out = model(make_batch(5, 3))
    total_loss(out.logits, out.points, out.tokens, LossConfig())["loss"].backward()
    for name, weight in model.named_parameters():
        assert (weight.grad is not None) == weight.requires_grad, name


def test_auxiliary_losses_train_the_first_layer_without_the_last(make_model: Callable, make_batch: Callable) -> None:
    model = make_model().train()
    out = model(make_batch(4))
    total_loss(out.logits[:1], out.points[:1], out.tokens, LossConfig())["loss"].backward()
    first, last = model.decoder.layers
    assert all(weight.grad is not None for weight in first.parameters())
    assert all(weight.grad is None for weight in last.parameters())


def test_bfloat16_loses_little(make_model: Callable, make_batch: Callable, sequence: str) -> None:
    plain = make_model(sequence=sequence)
    half = make_model(sequence=sequence, backbone={"precision": "bfloat16"})
    half.load_state_dict(plain.state_dict())
    batch = make_batch(6, 4)
    wanted, got = (total_loss(o.logits, o.points, o.tokens, LossConfig()) for o in (plain(batch), half(batch)))
    assert half.backbone(batch.images)[0].dtype == torch.float32
    assert not torch.equal(half.backbone(batch.images)[0], plain.backbone(batch.images)[0])
    for name, value in wanted.items():
        assert got[name].item() == pytest.approx(value.item(), rel=0.02)
    got["loss"].backward()
    assert all(w.grad.dtype == torch.float32 and w.grad.isfinite().all() for w in half.decoder.parameters())
    out = half.predict(batch)
    assert out.xy.dtype == torch.float32
    assert (out.xy - plain.predict(batch).xy).abs().max() < 0.05


@pytest.mark.parametrize("changes", [{"width": 18, "heads": 1}, {"width": 24, "heads": 3, "decoder": {"points": 1}}])
def test_any_width_the_configuration_allows_runs(
    make_model: Callable, make_batch: Callable, changes: dict[str, object]
) -> None:
    model = make_model(**changes)
    assert model.predict(make_batch(3)).xy.shape == (1, 3, 2)


@pytest.mark.timeout(120)
def test_eight_samples_are_learned_by_heart(make_model: Callable, make_batch: Callable, sequence: str) -> None:
    """Random poses with nothing to generalise: only the samples' own images and templates tell them apart."""
    model = make_model(sequence=sequence, backbone={"weights": "imagenet", "frozen": "all"}).train()
    model.backbone.project[0].reset_parameters()
    batch = make_batch(5, 3, 5, 4, 5, 3, 5, 2, hidden=0.2)
    with torch.no_grad():
        features = model.backbone.features(batch.images)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    for _ in range(200):
        out = model(batch, TrainConfig(input_noise=0.02), features)
        losses = total_loss(out.logits, out.points, out.tokens, LossConfig(tokens=0.2))
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    prediction = model.eval().predict(batch)
    error = (prediction.xy - batch.target).norm(dim=-1)[batch.visible]
    assert error.max() < 0.1  # PCK@0.1 = 1
    assert error.mean() < 0.03
    assert ((prediction.score > 0) & (prediction.score < 1))[batch.joints].all()
