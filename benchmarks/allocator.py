"""What keeping freed memory saves: a training step and a frozen backbone, with and without, in turns in one process."""

from __future__ import annotations

import torch
from harness import interleave, options, publish, usual
from paper import random_batch

from capetune.config import load_config
from capetune.models.estimator import PoseEstimator
from capetune.training.optim import make_optimizer, make_schedule
from capetune.training.step import train_step

TIMES = 5  # a turn


def main() -> None:
    arguments = options(__doc__, rounds=5)
    config = load_config("demo", None, ["model.backbone.weights=none"])
    model = PoseEstimator(config.model).train()
    optimizer = make_optimizer(model, config.train)
    schedule = make_schedule(optimizer, config.train, 1000)
    batch = random_batch(config.data.size, config.train.batch_size)

    def train() -> None:
        for _ in range(TIMES):
            train_step(model, [batch], optimizer, schedule, config)

    @torch.no_grad()
    def look() -> None:
        for _ in range(TIMES):
            model.backbone.features(batch.images)

    for name, work in (("demo's training step", train), ("frozen Lite0 at 128 px", look)):
        seconds = interleave({"usual": usual(work), "freed memory kept": work}, arguments.rounds)
        facts = {"work": f"{TIMES} × {name}, batch {len(batch)}, float32", "reach": {"freed memory kept": 1.0}}
        publish("allocator", seconds, "usual", facts, arguments.save)


if __name__ == "__main__":
    main()
