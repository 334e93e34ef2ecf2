"""The metrics of an epoch by which configurations and checkpoints are ranked."""

from __future__ import annotations

from capetune.evaluation.pck import THRESHOLDS

# Of an epoch's metrics those that a search may be after.
METRICS = ("mpck4", "mpck5", *(f"pck_{t:g}" for t in THRESHOLDS), "val_loss", "val_coordinates", "generate_ms")


def title(metric: str) -> str:
    """A metric's name as people write it."""
    return metric.replace("mpck", "mPCK").replace("pck_0", "PCK@")
