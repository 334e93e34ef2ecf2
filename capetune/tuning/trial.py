"""One trial of a search: a configuration trained in Tune's own process for it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from ray import tune
from ray.tune import Checkpoint

from capetune.config import Config
from capetune.datasets.pack import open_pack
from capetune.training.loop import Metrics, Ranks, Save, fit

Status = Literal["completed", "pruned", "failed"]


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended.

    number: 0 is the default configuration. overrides: dotted key → value, over the search's base configuration.
    status: completed; pruned, stopped early by the scheduler; failed, an error, never scored. score: its best
    validation mPCK4, None if it failed. metrics: those of the best epoch, as `training.loop.fit` reports them; empty
    if it failed. history: (epoch, mPCK4) of every finished epoch. seconds: what it took in all. checkpoint: its best,
    None if it failed. error: the failure's last line, the whole of which is in the file `traceback`; bad_input: it is
    the user's to cure.
    """

    number: int
    overrides: dict[str, Any]
    status: Status
    score: float | None
    metrics: Metrics
    history: list[tuple[int, float]]
    seconds: float
    config_hash: str | None
    checkpoint: str | None
    error: str | None = None
    bad_input: bool = False
    traceback: str | None = None

    @property
    def epochs(self) -> int:
        """Finished ones."""
        return self.history[-1][0] if self.history else 0

    @property
    def template(self) -> float | None:
        """The template's mPCK4 on the same pairs."""
        return self.metrics.get("template_mpck4")

    @property
    def rank_key(self) -> float:
        """Failed trials come last."""
        return -2.0 if self.score is None else self.score


def run_trial(overrides: dict[str, Any], settings: dict[str, Any]) -> None:
    """The trainable. settings: config (a dict, the search's base), pack (its folder), threads, device."""
    torch.set_num_threads(settings["threads"])
    config = Config.model_validate(settings["config"]).with_overrides(overrides)
    pack = open_pack(Path(settings["pack"]))

    def report(metrics: Metrics, save: Save) -> None:
        with tempfile.TemporaryDirectory() as folder:
            save(Path(folder))
            tune.report(metrics, checkpoint=Checkpoint.from_directory(folder))

    ranks = Ranks(device=settings["device"])
    start = tune.get_checkpoint()
    if start is None:
        fit(config, pack, report, ranks)
    else:
        with start.as_directory() as folder:
            fit(config, pack, report, ranks, Path(folder))
