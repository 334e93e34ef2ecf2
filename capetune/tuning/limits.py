"""What a search's configurations have to keep to, `constraints` in a space's file: only those that do can be best.

By how much a configuration is over a limit is told as a share of it, so that limits of different units weigh the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import optuna

from capetune.config import Config, ModelConfig
from capetune.errors import UserError

MEASURED = ("generate_ms", "gpu_memory_gb")  # in a trial's first epoch
GB = 1e9


def known_excess(limits: Mapping[Any, float], config: Config, overrides: Mapping[str, Any]) -> dict[str, float]:
    """By how much a configuration is over the limits that are known before it is trained; ≤ 0: within. Nothing of
    values that don't go together."""
    if "parameters" not in limits:
        return {}
    try:
        model = config.with_overrides(overrides).model
    except UserError:
        return {}
    return {"parameters": parameters(model) / limits["parameters"] - 1}


def measured_excess(limits: Mapping[Any, float], epoch: Mapping[str, Any]) -> dict[str, float]:
    """The same of what an epoch's metrics tell."""
    return {name: epoch[name] / limits[name] - 1 for name in MEASURED if name in limits and name in epoch}


def over(excess: Mapping[str, float]) -> str | None:
    """Which limits a configuration is over, in words; None where it keeps to all."""
    broken = {name: share for name, share in excess.items() if share > 0}
    words = [f"{name} is {100 * share:.3g} % over its limit" for name, share in broken.items()]
    return " and ".join(words) or None


@cache
def parameters(config: ModelConfig) -> int:
    """Of a whole model, frozen ones too."""
    import torch  # seconds; most searches have no such limit

    from capetune.models.estimator import PoseEstimator

    with torch.device("meta"):
        return sum(value.numel() for value in PoseEstimator(config, pretrained=False).parameters())


def set_excess(study: optuna.Study, number: int, excess: Mapping[str, float]) -> None:
    """Let the study know it of a trial that hasn't ended there."""
    if not excess:
        return
    trial = study.get_trials(deepcopy=False)[number]
    for name, share in excess.items():
        if not trial.state.is_finished() and name not in trial.constraints:
            optuna.trial.Trial(study, trial._trial_id).set_constraint(name, share)
