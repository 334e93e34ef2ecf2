"""A training step of the paper's configuration with a bfloat16 backbone against float32; do both learn alike?"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

import torch
from harness import interleave, options, publish
from paper import paper_config, random_batch

from capetune.datasets.episodes.stream import train_batches
from capetune.datasets.packs.reader import open_pack
from capetune.datasets.packs.writer import pack
from capetune.datasets.synthetic.generate import generate
from capetune.models.backbone import fast_precision
from capetune.models.estimator import PoseEstimator
from capetune.pose import Batch
from capetune.training.optim import make_optimizer, make_schedule
from capetune.training.step import train_step

# What is trained: the backbone's precision, and how far the weights are nudged, relative to themselves. The nudge is a
# control: what it changes in the end is chance.
TRAININGS = {"float32": ("float32", 0.0), "float32, nudged": ("float32", 1e-4), "bfloat16": ("bfloat16", 0.0)}


def trainer(
    precision: str, size: int, batches: Iterator[Batch], seed: int = 0, nudge: float = 0.0
) -> Callable[[], float]:
    """A function that makes one training step and returns its loss; the same weights for both precisions.

    nudge: standard deviation of the noise that every weight is multiplied with, relative to 1.
    """
    config = paper_config([f"model.backbone.precision={precision}", "model.dropout=0.0", f"data.size={size}"])
    torch.manual_seed(seed)
    model = PoseEstimator(config.model).train()
    if nudge:
        with torch.no_grad():
            for weights in model.parameters():
                weights.mul_(1 + nudge * torch.randn_like(weights))
    optimizer = make_optimizer(model, config.train)
    schedule = make_schedule(optimizer, config.train, 1000)
    return lambda: train_step(model, [next(batches)], optimizer, schedule, config)["loss"].item()


def learn(size: int, count: int, steps: int, seeds: int) -> dict[str, list[float]]:
    """Each seed's mean loss of the last ten of `steps` steps on synthetic images, for each of TRAININGS."""
    losses: dict[str, list[float]] = {kind: [] for kind in TRAININGS}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        generate(root / "raw", categories=40, images=12, size=2 * size)
        pack(root / "raw" / "annotations", root / "raw" / "images", root / "pack", size=size)
        data = paper_config([f"data.size={size}"]).data
        for seed in range(seeds):
            for kind, (precision, nudge) in TRAININGS.items():
                batches = train_batches(open_pack(root / "pack"), data, count, seed, 1, steps=steps)
                step = trainer(precision, size, batches, seed, nudge)
                losses[kind].append(statistics.mean([step() for _ in range(steps)][-10:]))
    return losses


def apart(losses: list[float], plain: list[float]) -> tuple[float, float]:
    """How far the mean loss lies from plain training's, relative, and the standard error of it over the seeds."""
    gaps = [loss / other - 1 for loss, other in zip(losses, plain, strict=True)]
    return statistics.mean(gaps), statistics.stdev(gaps) / len(gaps) ** 0.5


def main() -> None:
    arguments = options(__doc__, rounds=5)
    if fast_precision() == "auto":
        print("autocast: this CPU has no AVX512-BF16 and emulates bfloat16: nothing to gain, so nothing is measured")
        return
    size, count, steps, seeds = 512, 4, 50, 5
    noise = random_batch(size, count)
    work = {precision: trainer(precision, size, repeat(noise)) for precision in ("float32", "bfloat16")}
    seconds = interleave(work, arguments.rounds)
    losses = learn(128, count, steps, seeds)
    gaps = {kind: apart(ends, losses["float32"]) for kind, ends in losses.items() if kind != "float32"}
    for kind, (gap, error) in gaps.items():
        print(f"{kind}: loss after {steps} steps at 128 px {gap:+.2%} ± {error:.2%} of float32's ({seeds} seeds)")
    facts = {
        "work": "training step",
        "batch": count,
        "size": size,
        "loss_after_50_steps": losses,
        "loss_gap_and_error": gaps,
        "reach": {"bfloat16": 0.6},
    }
    publish("autocast", seconds, "float32", facts, arguments.save)


if __name__ == "__main__":
    main()
