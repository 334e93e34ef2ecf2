from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from capetune.config import Config, TrainConfig
from capetune.models.estimator import PoseEstimator
from capetune.training.optim import make_optimizer, make_schedule


def rates(config: TrainConfig, steps: int) -> list[float]:
    """The learning rate at each step."""
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=config.learning_rate)
    schedule = make_schedule(optimizer, config, steps)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_constant_is_constant() -> None:
    assert rates(TrainConfig(learning_rate=1e-3), 5) == [1e-3] * 5


def test_warmup_rises_linearly_to_the_full_rate() -> None:
    assert rates(TrainConfig(learning_rate=1.0, warmup=4), 7) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1])


def test_cosine_falls_from_the_full_rate_towards_zero() -> None:
    seen = rates(TrainConfig(learning_rate=2.0, schedule="cosine", warmup=2), 10)
    assert seen[:3] == pytest.approx([1.0, 2.0, 2.0])
    assert seen[2:] == pytest.approx([1 + math.cos(math.pi * i / 8) for i in range(8)])
    assert 0 < seen[-1] < 0.1


def test_warmup_longer_than_the_training_never_passes_the_rate() -> None:
    seen = rates(TrainConfig(learning_rate=1.0, schedule="cosine", warmup=100), 10)
    assert seen == pytest.approx([(i + 1) / 100 for i in range(10)])


def test_steps_beyond_the_plan_stay_at_zero() -> None:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make_schedule(optimizer, TrainConfig(learning_rate=1.0, schedule="cosine"), 3)
    for _ in range(6):
        optimizer.step()
        schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0


@pytest.fixture(scope="module")
def model() -> PoseEstimator:
    keys = {"width": 32, "heads": 4, "vocabulary": 16, "decoder.layers": 1, "support.layers": 1}
    backbone = {"backbone.name": "efficientnet_lite0", "backbone.weights": "none", "backbone.frozen": "all"}
    settings = {f"model.{key}": value for key, value in (keys | backbone).items()}
    return PoseEstimator(Config().with_overrides(settings).model)


def test_linear_maps_decay_and_biases_norms_and_embeddings_dont(model: PoseEstimator) -> None:
    optimizer = make_optimizer(model, TrainConfig(weight_decay=0.3))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay[id(model.decoder.point_head.weight)] == 0.3
    assert decay[id(model.backbone.project[0].weight)] == 0.3
    for weight in (
        model.decoder.places.table,
        model.decoder.special.weight,
        model.support.places.table,
        model.support.unknown,
        model.decoder.norm.weight,
        model.decoder.point_head.bias,
    ):
        assert decay[id(weight)] == 0.0


def test_the_fused_optimiser_makes_the_plain_ones_steps(model: PoseEstimator) -> None:
    mine, plain = copy.deepcopy(model), copy.deepcopy(model)
    fused = make_optimizer(mine, TrainConfig(learning_rate=0.01, weight_decay=0.3))
    assert fused.defaults["fused"]
    for group in (slow := make_optimizer(plain, TrainConfig(learning_rate=0.01, weight_decay=0.3))).param_groups:
        group["fused"], group["foreach"] = False, False
    for step in range(3):
        for optimizer in (fused, slow):
            torch.manual_seed(step)
            for group in optimizer.param_groups:
                for weight in group["params"]:
                    weight.grad = torch.randn_like(weight)
            optimizer.step()
    for got, wanted in zip(mine.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(got, wanted)


def test_each_trained_weight_is_optimised_once_and_no_frozen_one(model: PoseEstimator) -> None:
    optimizer = make_optimizer(model, TrainConfig())
    given = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(given) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert not {id(p) for p in model.backbone.net.parameters()} & set(given)


def test_the_backbone_has_a_learning_rate_of_its_own_and_its_projection_hasnt() -> None:
    keys = {"width": 32, "heads": 4, "backbone.name": "efficientnet_lite0", "backbone.weights": "none"}
    net = PoseEstimator(Config().with_overrides({f"model.{key}": value for key, value in keys.items()}).model)
    optimizer = make_optimizer(net, TrainConfig(learning_rate=1e-3, backbone_rate=0.01))
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert {rate[id(p)] for p in net.backbone.net.parameters()} == {1e-3 * 0.01}
    assert {rate[id(p)] for p in [*net.backbone.project.parameters(), *net.decoder.parameters()]} == {1e-3}
    make_schedule(optimizer, TrainConfig(warmup=4), 10)
    assert {group["lr"] for group in optimizer.param_groups} == {1e-3 / 4, 1e-3 * 0.01 / 4}
