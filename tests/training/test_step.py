from __future__ import annotations

from dataclasses import fields

import torch

from capetune.config import Config
from capetune.datasets.episodes.stream import train_batches
from capetune.datasets.packs.reader import Pack
from capetune.models.estimator import PoseEstimator
from capetune.pose import Batch
from capetune.training.optim import make_optimizer, make_schedule
from capetune.training.step import train_step


def test_two_accumulated_batches_are_one_of_twice_the_size(config: Config, pack: Pack) -> None:
    """With equal K and nothing hidden the mean of two gradients is the gradient of both."""
    config = config.with_overrides({"model.dropout": 0.0, "train.input_noise": 0.0})
    batch = next(train_batches(pack, config.data, 64, 0, 1, steps=1))
    counts = [tuple(row) for row in torch.stack([batch.joints.sum(dim=1), batch.visible.sum(dim=1)], dim=1).tolist()]
    chosen = torch.tensor([i for i, pair in enumerate(counts) if pair == max(counts, key=counts.count)][:2])

    def rows(i: torch.Tensor) -> Batch:
        return Batch(**{f.name: getattr(batch, f.name)[i] for f in fields(batch)})

    gradients = []
    for group in ([rows(chosen)], [rows(chosen[:1]), rows(chosen[1:])]):
        torch.manual_seed(0)
        model = PoseEstimator(config.model).eval()
        optimizer = make_optimizer(model, config.train)
        train_step(model, group, optimizer, make_schedule(optimizer, config.train, 10), config)
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, whole in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], whole, atol=1e-5, rtol=1e-3, msg=name)
