"""How many steps an epoch has. Knows no torch: whoever only starts a training asks it too."""

from __future__ import annotations

import math


def steps_per_epoch(instances: int, batch_size: int, world: int) -> int:
    """Steps in which `world` ranks of `batch_size` see about each instance once; at least 1."""
    return max(1, math.ceil(instances / (batch_size * world)))
