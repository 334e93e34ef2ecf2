"""A training that came to nothing: from some step on its loss, or its weights, are no numbers any more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from capetune.errors import Diverged
from capetune.pose import Batch

EVERY = 50  # steps between two looks: each waits for the device
SCORED = ("val_loss", "mpck4")
NAMED = 8  # instances of the step


class Watch:
    """Looks for the first step of an epoch whose loss isn't finite, without waiting for the device at each step."""

    def __init__(self, rate: float, device: str) -> None:
        """rate: the configuration's learning rate."""
        self.rate = rate
        self.first = torch.zeros((), dtype=torch.int64, device=device)  # 0: none so far
        self.value = torch.zeros((), device=device)
        self.ids: dict[int, list[torch.Tensor]] = {}

    def step(self, number: int, group: Sequence[Batch], loss: torch.Tensor) -> None:
        """number: from 1. group: the step's batches, whose mean loss, detached, it is. Raises as `look`."""
        self.ids[number] = [batch.ids for batch in group]
        bad = (self.first == 0) & ~torch.isfinite(loss)
        self.first = torch.where(bad, number, self.first)
        self.value = torch.where(bad, loss, self.value)
        if number % EVERY == 0:
            self.look()

    def look(self) -> None:
        """Raises Diverged, naming the cure, the step and its instances, where a loss wasn't finite."""
        step = int(self.first)
        if step:
            ids = torch.cat(self.ids[step]).tolist()
            named = ", ".join(map(str, ids[:NAMED])) + ", …" * (len(ids) > NAMED)
            where = f"step {step} of its epoch, instances {named}"
            raise _diverged(f"the loss became {float(self.value)}", self.rate, where)
        self.ids.clear()

    def end(self, model: nn.Module) -> None:
        """After the last step. Raises as `look` does, or where that step spoilt the weights."""
        self.look()
        spoilt = [name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()]
        if spoilt:
            where = f"the last step of an epoch, {spoilt[0]} for one"
            raise _diverged(f"{len(spoilt)} weights are no numbers", self.rate, where)


def check_scores(metrics: Mapping[str, float], rate: float) -> None:
    """Raises Diverged where what validation found is no number: no epoch after it could be compared. rate: as
    `Watch`'s."""
    bad = next((name for name in SCORED if not math.isfinite(metrics[name])), None)
    if bad is not None:
        raise _diverged(f"{bad} became {metrics[bad]}", rate, "in validation")


def _diverged(what: str, rate: float, where: str) -> Diverged:
    cure = "lower it with --set train.learning_rate=…"
    return Diverged(f"{what} at learning rate {rate:g}; {cure} ({where})")
