"""Where in the picture a model looked for each keypoint that it wrote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor

from capetune.models.backbone import Maps
from capetune.models.decoder import DecoderLayer
from capetune.models.deformable import DeformableAttention
from capetune.models.estimator import PoseEstimator


@dataclass
class Watch:
    """A prediction that is watched: what was given to the last layer's deformable attention, call by call."""

    model: PoseEstimator
    attention: DeformableAttention
    calls: list[tuple[Tensor, Tensor, Maps]] = field(default_factory=list)

    @torch.inference_mode()
    def looked(self, keypoints: int) -> tuple[Tensor, Tensor]:
        """What that layer read in the steps that wrote each of K keypoints, of B poses: places, (B, K, P, 2) in [0, 1]
        of the crop, outside of which zero was read, and weights, (B, K, P), each keypoint's of sum 1.

        With `model.refine` it is what the second pass read, which has the last word. In `xy` a keypoint has two steps,
        x and y, with half of the weight each. At padding they mean nothing.
        """
        last = self.calls[-1:] if self.model.config.refine else self.calls
        x, reference = torch.cat([call[0] for call in last], dim=1), torch.cat([call[1] for call in last], dim=1)
        places, weights = self.attention.looked(x, reference, last[0][2])
        plan = self.model.decoder.plan(keypoints, x.device)
        if self.model.config.sequence == "point":
            return places[:, plan.x], weights[:, plan.x]
        both = torch.cat([places[:, plan.x], places[:, plan.y]], dim=2)
        return both, torch.cat([weights[:, plan.x], weights[:, plan.y]], dim=2) / 2


@contextmanager
def watched(model: PoseEstimator) -> Iterator[Watch]:
    """Watch one prediction, made inside. The last layer has the last word of where a keypoint lies; those before it
    look around where it was thought to be. The model runs as it is written, not compiled."""
    assert not model.way.compiled, "hooks of a compiled layer hear nothing"
    attention = cast(DeformableAttention, cast(DecoderLayer, model.decoder.layers[-1]).image_attention)
    watch = Watch(model, attention)
    handle = attention.register_forward_pre_hook(lambda _, given: watch.calls.append(given))
    try:
        yield watch
    finally:
        handle.remove()
