from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

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
        return Batch(*(tensor[i] for tensor in batch.tensors()))

    gradients = []
    for group in ([rows(chosen)], [rows(chosen[:1]), rows(chosen[1:])]):
        torch.manual_seed(0)
        model = PoseEstimator(config.model).eval()
        optimizer = make_optimizer(model, config.train)
        train_step(model, group, optimizer, make_schedule(optimizer, config.train, 10), config)
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, whole in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], whole, atol=1e-5, rtol=1e-3, msg=name)


@pytest.fixture
def group() -> Iterator[None]:
    """A process group of this process alone."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("group")
def test_kept_features_teach_a_model_of_several_workers_as_images_do(config: Config, pack: Pack) -> None:
    still = {"model.dropout": 0.0, "train.input_noise": 0.0, "model.backbone.frozen": "all"}
    config = config.with_overrides(still)
    batch = next(train_batches(pack, config.data, 4, 0, 1, steps=1))
    torch.manual_seed(0)
    model = PoseEstimator(config.model).eval()
    with torch.no_grad():
        kept = model.backbone.features(batch.images)
    losses = []
    for wrapped, given in ((model, []), (DistributedDataParallel(model), [kept])):
        optimizer = make_optimizer(model, config.train.model_copy(update={"learning_rate": 0.0}))
        losses.append(
            train_step(wrapped, [batch], optimizer, make_schedule(optimizer, config.train, 10), config, given)
        )
    assert losses[0] == losses[1]
