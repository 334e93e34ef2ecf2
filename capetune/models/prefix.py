"""What enters the decoder in training instead of the bare truth, so that it learns to live with its own mistakes.

A model that only ever saw true prefixes trusts them, and strays when it generates (exposure bias: Bengio et al. 2015,
Scheduled Sampling). What these and other remedies gave is in docs/experiments.md.
"""

from __future__ import annotations

import torch
from torch import Tensor

from capetune.config import TrainConfig


def disturbed(xy: Tensor, template: Tensor, config: TrainConfig) -> Tensor:
    """xy, template: (B, K, 2) in [0, 1], what would enter, and the template there.

    Returns xy with `prefix_dropout` of the keypoints put where their template is, then normal noise of deviation
    `input_noise` on all, within [0, 1].
    """
    if config.prefix_dropout:
        gone = torch.rand(*xy.shape[:2], 1, device=xy.device) < config.prefix_dropout
        xy = torch.where(gone, template, xy)
    if config.input_noise:
        xy = (xy + torch.randn_like(xy) * config.input_noise).clamp(0.0, 1.0)
    return xy
