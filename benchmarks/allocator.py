"""What keeping freed memory saves: a training step and a frozen backbone, with and without, in turns in one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from harness import interleave, options, publish
from paper import random_batch

from capetune.config import load_config
from capetune.models.estimator import PoseEstimator
from capetune.models.memory import MOST, keep_freed_memory
from capetune.training.loop import train_step
from capetune.training.optim import make_optimizer, make_schedule

USUAL = 32 * 2**20  # how far glibc raises its threshold by itself


def keeping(most: int, work: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        keep_freed_memory.__wrapped__(most)
        for _ in range(5):
            work()

    return run


def main() -> None:
    arguments = options(__doc__, rounds=5)
    config = load_config("demo", None, ["model.backbone.weights=none"])
    model = PoseEstimator(config.model).train()
    optimizer = make_optimizer(model, config.train)
    schedule = make_schedule(optimizer, config.train, 1000)
    batch = random_batch(config.data.size, config.train.batch_size)

    def step() -> None:
        train_step(model, [batch], optimizer, schedule, config)

    @torch.no_grad()
    def look() -> None:
        model.backbone.features(batch.images)

    for name, work in (("demo's training step", step), ("frozen Lite0 at 128 px", look)):
        seconds = interleave(
            {"usual": keeping(USUAL, work), "freed memory kept": keeping(MOST, work)}, arguments.rounds
        )
        facts = {"work": f"5 × {name}, batch {len(batch)}", "reach": {"freed memory kept": 1.0}}
        publish("allocator", seconds, "usual", facts, arguments.save)


if __name__ == "__main__":
    main()
