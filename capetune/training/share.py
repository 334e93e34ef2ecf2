"""How the workers of a training share a step's batch, where there are fewer of them than it was asked for."""

from __future__ import annotations

import math

from capetune.config import Config


def shared(config: Config, world: int, full: int) -> Config:
    """The configuration by which each of `world` workers trains, so that a step sees as many samples as with `full`.

    Batches get no larger than `train.batch_size`, for memory's sake, but more of them make a step; where the samples
    can't be dealt out evenly a step has a few more. Steps, epochs and the schedule are those of `full` workers.
    """
    size, accumulate = config.train.batch_size, config.train.accumulate
    if world == full:
        return config
    mine = size * accumulate * full / world
    turns = math.ceil(mine / size)
    return config.with_overrides({"train.batch_size": math.ceil(mine / turns), "train.accumulate": turns})


def step_size(config: Config, world: int) -> int:
    """Samples a step, of all workers."""
    return config.train.batch_size * config.train.accumulate * world
