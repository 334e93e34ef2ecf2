"""One step of training."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from capetune.config import Config
from capetune.models.backbone import Maps
from capetune.models.captured import Captured
from capetune.models.estimator import PoseEstimator
from capetune.models.losses import total_loss
from capetune.pose import Batch

Learn = Callable[..., dict[str, torch.Tensor]]


def train_step(
    model: nn.Module,
    group: Sequence[Batch],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    config: Config,
    kept: Sequence[Maps] = (),
) -> dict[str, torch.Tensor]:
    """Forward and backward of each batch of the group, then clip and update once, by the mean of their gradients.

    kept: for batches without pixels, what `Backbone.features` once gave for each (see `training.features`).

    Returns the detached losses, means over the group, scalars on the model's device.
    """
    losses = _update(model, group, optimizer, config, kept)
    schedule.step()
    return losses


class CapturedStep:
    """`train_step` replayed as CUDA graphs, one for each combination of shapes; for one model and optimiser, which is
    `optim.capturable`. The losses that it returns are overwritten by the next step."""

    def __init__(self) -> None:
        self._captured: Captured[dict[str, torch.Tensor]] | None = None

    def __call__(
        self,
        model: nn.Module,
        group: Sequence[Batch],
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        config: Config,
        kept: Sequence[Maps] = (),
    ) -> dict[str, torch.Tensor]:
        """As `train_step`."""
        fields, maps = len(group[0].tensors()), len(kept[0]) if kept else 0

        def update(tensors: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
            each = [tensors[i : i + fields + maps] for i in range(0, len(tensors), fields + maps)]
            batches = [Batch(*some[:fields]) for some in each]
            return _update(model, batches, optimizer, config, [tuple(some[fields:]) for some in each] if maps else ())

        if self._captured is None:
            self._captured = Captured(update)
        given = [[*batch.tensors(), *(kept[i] if kept else ())] for i, batch in enumerate(group)]
        losses = self._captured(list(itertools.chain.from_iterable(given)))
        schedule.step()
        return losses


def _update(
    model: nn.Module,
    group: Sequence[Batch],
    optimizer: torch.optim.Optimizer,
    config: Config,
    kept: Sequence[Maps],
) -> dict[str, torch.Tensor]:
    optimizer.zero_grad(set_to_none=True)
    sums: dict[str, torch.Tensor] = {}
    for i, batch in enumerate(group):
        shared = isinstance(model, DistributedDataParallel) and i + 1 < len(group)
        # The ranks exchange gradients once a step.
        with cast(DistributedDataParallel, model).no_sync() if shared else nullcontext():
            features = cast(PoseEstimator, model).backbone.embed(kept[i]) if kept else None
            output = model(batch, config.train, features)
            losses = total_loss(output.logits, output.points, output.tokens, config.loss)
            (losses["loss"] / len(group)).backward()
        for name, value in losses.items():
            sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach() / len(group)
    trained = itertools.chain.from_iterable(part["params"] for part in optimizer.param_groups)
    nn.utils.clip_grad_norm_(trained, config.train.clip)
    optimizer.step()
    return sums
