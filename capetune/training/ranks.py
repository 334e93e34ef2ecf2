"""A process's place among the workers of a training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from torch import nn

from capetune.cluster.processors import usable_cpus


@dataclass(frozen=True)
class Ranks:
    """This process's place among the training workers. The default is a single process.

    cpus: how many it has. full: how many workers the configuration's batch is for, None: `world`; there may be fewer
    (`share.shared`). wrap: puts DistributedDataParallel around the model. gather: gives every rank each rank's array,
    in order.
    """

    rank: int = 0
    world: int = 1
    device: str = "cpu"
    cpus: int = field(default_factory=usable_cpus)
    full: int | None = None
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model
    gather: Callable[[np.ndarray], list[np.ndarray]] = lambda array: [array]
