"""A training step of the paper's configuration with a bfloat16 backbone against one in float32; do both learn alike?"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from harness import interleave, options, publish
from paper import paper_config, random_batch

from capetune.models.estimator import PoseEstimator
from capetune.training.loop import train_step
from capetune.training.optim import make_optimizer, make_schedule


def trainer(precision: str, size: int, count: int) -> Callable[[], float]:
    """A function that makes one training step and returns its loss; the same weights and data for both precisions."""
    config = paper_config([f"model.backbone.precision={precision}", "model.dropout=0.0"])
    torch.manual_seed(0)
    model = PoseEstimator(config.model).train()
    optimizer = make_optimizer(model, config.train)
    schedule = make_schedule(optimizer, config.train, 1000)
    batch = random_batch(size, count)
    return lambda: train_step(model, [batch], optimizer, schedule, config)["loss"].item()


def main() -> None:
    arguments = options(__doc__, rounds=5)
    size, count, steps = 512, 4, 50
    work = {"float32": trainer("float32", size, count), "bfloat16": trainer("bfloat16", size, count)}
    seconds = interleave(work, arguments.rounds)
    small = {precision: trainer(precision, 128, count) for precision in work}
    # The last ten steps' mean: a single step's loss jumps by more than the precisions differ.
    losses = {name: statistics.mean([step() for _ in range(steps)][-10:]) for name, step in small.items()}
    gap = abs(losses["bfloat16"] / losses["float32"] - 1)
    print(f"mean loss of steps {steps - 9} to {steps} at 128 px: {losses}, {gap:.1%} apart")
    facts = {
        "work": "training step",
        "batch": count,
        "size": size,
        "loss_at_50_steps_128_px": losses,
        "reach": {"bfloat16": 0.6},
    }
    publish("autocast", seconds, "float32", facts, arguments.save)


if __name__ == "__main__":
    main()
