"""A training step of the paper's configuration with a bfloat16 backbone against one in float32; do both learn alike?"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from pathlib import Path

import torch
from harness import interleave, options, publish
from paper import paper_config, random_batch

from capetune.datasets.pack import open_pack
from capetune.datasets.shards import pack
from capetune.datasets.stream import train_batches
from capetune.datasets.synthetic import generate
from capetune.models.estimator import PoseEstimator
from capetune.pose import Batch
from capetune.training.loop import train_step
from capetune.training.optim import make_optimizer, make_schedule


def trainer(precision: str, size: int, batches: Iterator[Batch]) -> Callable[[], float]:
    """A function that makes one training step and returns its loss; the same weights for both precisions."""
    config = paper_config([f"model.backbone.precision={precision}", "model.dropout=0.0", f"data.size={size}"])
    torch.manual_seed(0)
    model = PoseEstimator(config.model).train()
    optimizer = make_optimizer(model, config.train)
    schedule = make_schedule(optimizer, config.train, 1000)
    return lambda: train_step(model, [next(batches)], optimizer, schedule, config)["loss"].item()


def learn(precisions: Iterable[str], size: int, count: int, steps: int) -> dict[str, tuple[float, float]]:
    """Each precision's mean loss in the first and in the last ten of `steps` steps on the same batches of synthetic
    images; a single step's jumps by more than the precisions differ."""
    losses = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        generate(root / "raw", categories=40, images=12, size=2 * size, progress=False)
        pack(root / "raw" / "annotations", root / "raw" / "images", root / "pack", size=size, progress=False)
        for precision in precisions:
            data = paper_config([f"data.size={size}"]).data
            step = trainer(precision, size, train_batches(open_pack(root / "pack"), data, count, 0, 1, steps=steps))
            all_steps = [step() for _ in range(steps)]
            losses[precision] = statistics.mean(all_steps[:10]), statistics.mean(all_steps[-10:])
    return losses


def main() -> None:
    arguments = options(__doc__, rounds=5)
    size, count, steps = 512, 4, 50
    noise = random_batch(size, count)
    work = {precision: trainer(precision, size, repeat(noise)) for precision in ("float32", "bfloat16")}
    seconds = interleave(work, arguments.rounds)
    losses = learn(work, 128, count, steps)
    gap = abs(losses["bfloat16"][1] / losses["float32"][1] - 1)
    print(f"mean loss of the first and the last ten of {steps} steps at 128 px: {losses}; in the end {gap:.2%} apart")
    facts = {
        "work": "training step",
        "batch": count,
        "size": size,
        "loss_of_first_and_last_10_of_50_steps": losses,
        "reach": {"bfloat16": 0.6},
    }
    publish("autocast", seconds, "float32", facts, arguments.save)


if __name__ == "__main__":
    main()
