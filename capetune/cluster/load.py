"""What a cluster's machines do, and what waits for room, as its dashboard tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from capetune.cluster.jobs import Jobs
from capetune.errors import UserError


@dataclass(frozen=True)
class Load:
    """used, total: of CPU and, where there are any, GPU. waiting: what is asked for, and how many times."""

    machines: int
    used: dict[str, float]
    total: dict[str, float]
    waiting: list[tuple[dict[str, float], int]]

    def to_json(self) -> dict[str, Any]:
        waiting = [{"resources": asked, "count": count} for asked, count in self.waiting]
        return {"machines": self.machines, "used": self.used, "total": self.total, "waiting": waiting}


def load_of(jobs: Jobs) -> Load:
    """Raises UserError where the dashboard doesn't tell."""
    told = jobs.get("/api/cluster_status")
    try:
        report = (told["data"]["clusterStatus"] or {}).get("loadMetricsReport") or {}
        usage = {name: report.get("usage", {}).get(name) for name in ("CPU", "GPU")}
        have = {name: pair for name, pair in usage.items() if pair}
        groups = [
            (_summed(bundles), count)
            for [group, count] in report.get("pgDemand", [])
            for bundles in [group["bundles"] if isinstance(group, dict) else group]
        ]
        single = [(_plain(asked), count) for asked, count in report.get("resourceDemand", [])]
        return Load(
            len(report.get("usageByNode") or {}),
            {name: pair[0] for name, pair in have.items()},
            {name: pair[1] for name, pair in have.items()},
            [(asked, count) for asked, count in groups + single if asked],
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"the dashboard at {jobs.url} tells of its cluster in a way that isn't known here") from None


def _plain(asked: dict[str, float]) -> dict[str, float]:
    return {name: float(count) for name, count in asked.items() if name in ("CPU", "GPU")}


def _summed(bundles: list[list[Any]]) -> dict[str, float]:
    """Of a placement group: bundles, each with how many times."""
    whole: dict[str, float] = {}
    for asked, count in bundles:
        for name, each in _plain(asked).items():
            whole[name] = whole.get(name, 0.0) + each * count
    return whole
