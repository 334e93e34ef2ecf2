"""AdamW and its learning-rate schedule."""

from __future__ import annotations

import torch
from torch import nn

from capetune.config import TrainConfig
from capetune.models.estimator import PoseEstimator
from capetune.training.rate import share


def make_optimizer(model: PoseEstimator, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over what is trained. Weights of linear maps and convolutions decay; biases, norms and embeddings don't.

    The backbone's own weights learn at `backbone_rate` of the rate; the projection of its maps isn't one of them.
    """
    maps = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    backbone = {id(p) for p in model.backbone.net.parameters()}
    rates = (config.learning_rate, config.learning_rate * config.backbone_rate)
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for p in model.parameters():
        if p.requires_grad:
            groups.setdefault((id(p) in backbone, id(p) in maps), []).append(p)
    return torch.optim.AdamW(
        [
            {"params": group, "lr": rates[inner], "weight_decay": config.weight_decay if decays else 0.0}
            for (inner, decays), group in groups.items()
        ],
        fused=True,
    )


def make_capturable(optimizer: torch.optim.Optimizer) -> None:
    """Let its steps be replayed by a GPU: learning rates are read from its memory, where a schedule writes them."""
    device = optimizer.param_groups[0]["params"][0].device
    for group in optimizer.param_groups:
        group["capturable"] = True
        group["lr"] = torch.tensor(float(group["lr"]), device=device)
    for state in optimizer.state.values():
        state["step"] = state["step"].to(device)


def make_schedule(
    optimizer: torch.optim.Optimizer, config: TrainConfig, steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """The share of the learning rate at each of `steps` steps, as `rate.share` has it."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share(config, steps, step))
