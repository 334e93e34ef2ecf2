"""The parts of starting Ray that need no Ray, but for one; the whole is in tests/integration."""

from __future__ import annotations

import pytest

from capetune.cluster.machines import Cluster


@pytest.mark.parametrize(
    ("machines", "workers", "threads"),
    [
        (((8, 0),), 1, 8),
        (((8, 0),), 3, 2),
        (((8, 0), (8, 0)), 1, 8),  # a worker's CPUs are on one machine
        (((8, 0), (8, 0)), 3, 4),
        (((8, 0), (2, 0)), 5, 2),
        (((2, 0),), 5, 1),
        (((64, 4), (64, 4)), 8, 16),
        (((64, 0), (16, 4)), 4, 4),  # the first machine has no GPU for a worker
    ],
)
def test_each_worker_s_processors_are_on_one_machine(machines, workers, threads):
    assert Cluster("", None, machines).threads(workers) == threads
