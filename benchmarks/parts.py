"""Where a training step of the demo's preset goes: loader, frozen backbone, decoder and losses, backward, update.

Each part is timed where it happens in a step; medians over the steps. No floor: it says where to look.
"""

from __future__ import annotations

import itertools
import statistics
import time

import torch
from harness import options

from capetune.config import load_preset
from capetune.datasets.builtin import open_data
from capetune.datasets.episodes.stream import train_batches
from capetune.models.estimator import PoseEstimator
from capetune.models.losses import total_loss
from capetune.training.optim import make_optimizer, make_schedule

PARTS = ("loader", "frozen backbone", "decoder and losses", "backward", "clip and update")


def main() -> None:
    steps = options(__doc__, rounds=50).rounds
    config = load_preset("demo")
    model = PoseEstimator(config.model).train()
    optimizer = make_optimizer(model, config.train)
    schedule = make_schedule(optimizer, config.train, steps)
    pack = open_data("synthetic")
    batches = train_batches(pack, config.data, config.train.batch_size, config.seed, 1, 0, 1, steps=steps)
    marks: list[list[float]] = []
    begun = time.perf_counter()
    for batch in batches:
        times = [begun, time.perf_counter()]
        with torch.no_grad():
            maps = model.backbone.features(batch.images)
        times.append(time.perf_counter())
        output = model(batch, config.train, maps)
        loss = total_loss(output.logits, output.points, output.tokens, config.loss)["loss"]
        times.append(time.perf_counter())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        times.append(time.perf_counter())
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.train.clip)
        optimizer.step()
        schedule.step()
        times.append(time.perf_counter())
        marks.append([b - a for a, b in itertools.pairwise(times)])
        begun = time.perf_counter()
    for name, values in zip(PARTS, zip(*marks, strict=True), strict=True):
        print(f"{name:20} {1000 * statistics.median(values):6.1f} ms")
    print(f"{'a step':20} {1000 * statistics.median(map(sum, marks)):6.1f} ms, batch {config.train.batch_size}")


if __name__ == "__main__":
    main()
