"""The learning rate over a training's steps. Knows no torch: whoever only starts a training says it too."""

from __future__ import annotations

import math

from capetune.config import TrainConfig
from capetune.datasets.episodes.steps import steps_per_epoch


def share(config: TrainConfig, steps: int, step: int) -> float:
    """Of the learning rate, at a step (from 0) of so many: linear warm-up, then constant or a cosine to zero."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    if config.schedule == "constant":
        return 1.0
    done = (step - config.warmup) / max(1, steps - config.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def steps_of(config: TrainConfig, instances: int, workers: int) -> int:
    """Steps an epoch, of so many train instances, with as many workers as the batch is for."""
    return config.steps or steps_per_epoch(instances, config.batch_size * config.accumulate, workers)
