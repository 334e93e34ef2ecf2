"""What a Ray cluster has, and what fits into it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cluster:
    """dashboard: URL. token: file whose content the dashboard asks for, None where the cluster isn't ours.

    machines: (CPUs, GPUs) of each. cpus, gpus: what the cluster has in all.
    """

    dashboard: str
    token: Path | None
    machines: tuple[tuple[int, int], ...]

    @property
    def cpus(self) -> int:
        return sum(cpus for cpus, _ in self.machines)

    @property
    def gpus(self) -> int:
        return sum(gpus for _, gpus in self.machines)

    def places(self, threads: int) -> int:
        """How many workers of so many CPUs, and of one GPU where the cluster has any, it has room for: each of them
        needs its CPUs on one machine."""
        rooms = (min(cpus // threads, gpus) if self.gpus else cpus // threads for cpus, gpus in self.machines)
        return sum(rooms)

    def threads(self, workers: int) -> int:
        """How many CPUs each of so many workers can have, 1 at least."""
        most = max((cpus for cpus, _ in self.machines), default=1)
        return next((count for count in range(most, 1, -1) if self.places(count) >= workers), 1)
