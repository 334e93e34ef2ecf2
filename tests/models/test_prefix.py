from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from capetune.config import TrainConfig
from capetune.models.prefix import disturbed


def test_nothing_asked_nothing_changed() -> None:
    xy = torch.rand(2, 5, 2)
    assert torch.equal(disturbed(xy, torch.rand(2, 5, 2), TrainConfig()), xy)


def test_dropped_keypoints_enter_where_their_template_is() -> None:
    torch.manual_seed(0)
    xy, template = torch.zeros(50, 40, 2), torch.ones(50, 40, 2)
    got = disturbed(xy, template, TrainConfig(prefix_dropout=0.3))
    assert torch.equal(got[..., 0], got[..., 1])  # a keypoint goes as a whole
    assert set(got.unique().tolist()) == {0.0, 1.0}
    assert abs(got.mean().item() - 0.3) < 0.03
    assert torch.equal(disturbed(xy, template, TrainConfig(prefix_dropout=1.0)), template)


def test_noise_has_the_deviation_asked_for_and_stays_in_the_crop() -> None:
    torch.manual_seed(0)
    middle = torch.full((50, 40, 2), 0.5)
    got = disturbed(middle, middle, TrainConfig(input_noise=0.05))
    assert abs((got - middle).std().item() - 0.05) < 0.003
    edge = disturbed(torch.ones(50, 40, 2), middle, TrainConfig(input_noise=0.5))
    assert edge.min() >= 0
    assert edge.max() <= 1


@torch.no_grad()
def test_a_wholly_dropped_prefix_is_the_template_in_the_model_too(make_model: Callable, make_batch: Callable) -> None:
    model, batch = make_model(), make_batch(5, 3)
    dropped = model(batch, TrainConfig(prefix_dropout=1.0))
    plain = model(batch)
    instead = model(replace(batch, target=batch.template))
    torch.testing.assert_close(dropped.points[-1], instead.points[-1])
    assert not torch.allclose(dropped.points[-1], plain.points[-1])
