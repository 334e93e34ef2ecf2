"""One step of training."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from capetune.config import Config
from capetune.models.backbone import Maps
from capetune.models.captured import Captured
from capetune.models.losses import total_loss
from capetune.pose import Batch
from capetune.training.optim import make_capturable

Losses = dict[str, torch.Tensor]
Learn = Callable[[Sequence[Batch], Sequence[Maps]], Losses]  # what is made of a group of batches
Mark = Callable[[str], None]


def train_step(
    model: nn.Module,
    group: Sequence[Batch],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    config: Config,
    kept: Sequence[Maps] = (),
    mark: Mark = lambda part: None,
) -> Losses:
    """Forward and backward of each batch of the group, then clip and update once, by the mean of their gradients.

    kept: for batches without pixels, what `Backbone.features` once gave for each (see `training.features`). mark: told
    "forward" and "backward" when these are done, or queued on a GPU, of each batch (`training.laps`).

    Returns the detached losses, means over the group, scalars on the model's device.
    """
    losses = _update(model, optimizer, config, group, kept, mark)
    schedule.step()
    return losses


class CapturedStep:
    """`train_step` of a model and an optimiser on a GPU, replayed as CUDA graphs, one for each combination of shapes.
    The losses that it returns are overwritten by the next step."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        config: Config,
    ) -> None:
        make_capturable(optimizer)
        self._update = partial(_update, model, optimizer, config)
        self._schedule = schedule
        self._captured: Captured[Losses] | None = None

    def __call__(self, group: Sequence[Batch], kept: Sequence[Maps] = ()) -> Losses:
        """As `train_step`. Batches are padded to the group's most keypoints, or each combination would be captured."""
        most = max(batch.joints.shape[1] for batch in group)
        given = [batch.padded(len(batch), most).tensors() for batch in group]
        fields = len(given[0])
        for tensors, maps in zip(given, kept or [()] * len(given), strict=True):
            tensors += maps
        if self._captured is None:
            self._captured = Captured(partial(_grouped, self._update, fields, len(given[0])))
        losses = self._captured(list(itertools.chain.from_iterable(given)))
        self._schedule.step()
        return losses

    def forget(self) -> None:
        """Let go of its graphs and their memory."""
        self._captured = None


def losses_of(model: nn.Module, batch: Batch, config: Config, kept: Maps = ()) -> Losses:
    """A batch's losses, scalars. kept: what `Backbone.features` once gave for it, where it has no pixels."""
    output = model(batch, config.train, kept or None)
    return total_loss(output.logits, output.points, output.tokens, config.loss)


def _grouped(update: Learn, fields: int, share: int, tensors: Sequence[torch.Tensor]) -> Losses:
    """update of batches, each given as `share` tensors: its own `fields`, and the maps kept for it."""
    each = [tensors[begin : begin + share] for begin in range(0, len(tensors), share)]
    kept = [tuple(some[fields:]) for some in each] if share > fields else []
    return update([Batch(*some[:fields]) for some in each], kept)


def _update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: Config,
    group: Sequence[Batch],
    kept: Sequence[Maps],
    mark: Mark = lambda part: None,
) -> Losses:
    optimizer.zero_grad(set_to_none=True)
    sums: Losses = {}
    for i, batch in enumerate(group):
        shared = isinstance(model, DistributedDataParallel) and i + 1 < len(group)
        # The ranks exchange gradients once a step.
        with cast(DistributedDataParallel, model).no_sync() if shared else nullcontext():
            losses = losses_of(model, batch, config, kept[i] if kept else ())
            mark("forward")
            (losses["loss"] / len(group)).backward()
            mark("backward")
        for name, value in losses.items():
            sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach() / len(group)
    trained = itertools.chain.from_iterable(part["params"] for part in optimizer.param_groups)
    nn.utils.clip_grad_norm_(trained, config.train.clip)
    optimizer.step()
    return sums
