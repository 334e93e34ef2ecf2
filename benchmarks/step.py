"""A training step of the paper's configuration against a plain ResNet-50 forward and backward of the same batch."""

from __future__ import annotations

import torch
from harness import interleave, options, publish
from paper import paper_config, random_batch, resnet50

from capetune.models.estimator import PoseEstimator
from capetune.training.loop import train_step
from capetune.training.optim import make_optimizer, make_schedule


def main() -> None:
    arguments = options(__doc__, rounds=5)
    config, count = paper_config(), 4
    batch = random_batch(config.data.size, count)
    model = PoseEstimator(config.model).train()
    optimizer = make_optimizer(model, config.train)
    schedule = make_schedule(optimizer, config.train, 1000)
    floor = resnet50().train()
    pixels = batch.images.float().contiguous(memory_format=torch.channels_last)

    def plain() -> None:
        floor.zero_grad(set_to_none=True)
        floor(pixels).sum().backward()

    seconds = interleave(
        {
            "ResNet-50 forward + backward": plain,
            "step": lambda: train_step(model, [batch], optimizer, schedule, config),
        },
        arguments.rounds,
    )
    facts = {
        "work": "training step, float32",
        "batch": count,
        "size": config.data.size,
        "config": config.hash(),
        "reach": 1.15,
    }
    publish("step", seconds, "ResNet-50 forward + backward", facts, arguments.save)


if __name__ == "__main__":
    main()
