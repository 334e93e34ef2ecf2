"""A training step of the paper's configuration against a plain ResNet-50 forward and backward of the same batch.

As with any pretrained backbone, ours keeps BatchNorm's statistics; the plain network, in training, computes them.
The floor keeps its freed memory as ours does; what it takes without that is a row of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from harness import interleave, options, publish, usual
from paper import paper_config, random_batch, resnet50, weights_file

from capetune.config import Config
from capetune.models.estimator import PoseEstimator
from capetune.pose import Batch
from capetune.training.optim import make_optimizer, make_schedule
from capetune.training.step import train_step


def main() -> None:
    arguments = options(__doc__, rounds=5)
    count = 4
    floor = resnet50().train()
    batch = random_batch(paper_config().data.size, count)
    pixels = batch.images.float().contiguous(memory_format=torch.channels_last)

    def plain() -> None:
        floor.zero_grad(set_to_none=True)
        floor(pixels).sum().backward()

    work = {"ResNet-50 forward + backward": plain, "the same in plain PyTorch": usual(plain)}
    for name, settings in (("all trained", []), ("stem and first stage frozen", ["model.backbone.frozen=2"])):
        work[name] = step(paper_config([*settings, f"model.backbone.weights={weights_file()}"]), batch)
    seconds = interleave(work, arguments.rounds)
    facts = {
        "work": "training step, float32",
        "batch": count,
        "size": paper_config().data.size,
        "reach": {"all trained": 1.15, "stem and first stage frozen": 0.85},
    }
    publish("step", seconds, "ResNet-50 forward + backward", facts, arguments.save)


def step(config: Config, batch: Batch) -> Callable[[], object]:
    """A function that makes one training step."""
    model = PoseEstimator(config.model).train()
    optimizer = make_optimizer(model, config.train)
    schedule = make_schedule(optimizer, config.train, 1000)
    return lambda: train_step(model, [batch], optimizer, schedule, config)


if __name__ == "__main__":
    main()
