"""The outcome of a training, in words."""

from __future__ import annotations

from capetune.runs.history import HISTORY
from capetune.service.train import TrainResult


def result_lines(result: TrainResult) -> list[str]:
    metrics = result.meta.metrics
    return [
        f"best: epoch {result.meta.epoch}, val mPCK4 {metrics['mpck4']:.3f} "
        f"(template on the same pairs {metrics['template_mpck4']:.3f})",
        f"every epoch: {result.folder}/{HISTORY}",
        f"checkpoint: {result.checkpoint}",
    ]
