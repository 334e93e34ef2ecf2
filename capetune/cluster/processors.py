"""How many processors this process may use."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath


def usable_cpus(groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> int:
    """Logical CPUs that taskset, Slurm or a container leave to this process, 1 at least: the least of its affinity and
    of the quotas of its control groups, of either version. A quota of 2.5 CPUs counts as 2.

    groups, mounted: where Linux says which control groups the process is in, and what they allow.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [int(quota) for quota in _quotas(groups, mounted)]
    return max(1, min([affinity, *quotas]))


def _quotas(groups: Path, mounted: Path) -> list[float]:
    """CPUs that the groups and those around them allow; none where nothing is limited."""
    found = []
    for line in _text(groups).splitlines():
        _, controllers, path = line.split(":", 2)
        root = mounted if not controllers else mounted / "cpu"
        if controllers and "cpu" not in controllers.split(","):
            continue
        # In a container the path is often that of the host, and the group itself is what is mounted.
        inner = PurePosixPath(path.lstrip("/"))
        for group in {root, *(root / inner for inner in (inner, *inner.parents))}:
            found += [_second(group)] if not controllers else [_first(group)]
    return [quota for quota in found if quota]


def _second(group: Path) -> float:
    """cpu.max says `max 100000` or `250000 100000`: microseconds of CPU time in so many of the clock's."""
    quota, _, period = _text(group / "cpu.max").strip().partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else 0.0


def _first(group: Path) -> float:
    """A quota of -1 is none."""
    quota, period = (_text(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else 0.0


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
