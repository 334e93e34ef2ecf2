"""Where in the picture a model looked for each keypoint that it wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from capetune.models.backbone import Maps
from capetune.models.decoder import DecoderLayer
from capetune.models.deformable import DeformableAttention
from capetune.models.estimator import PoseEstimator
from capetune.pose import Batch, Prediction


@dataclass(frozen=True, eq=False)
class Looked:
    """prediction: as `PoseEstimator.predict` gives it. places: (B, K, P, 2) in [0, 1] of the crop; what lies outside
    was read as zero. weights: (B, K, P), each keypoint's of sum 1. At padding they mean nothing."""

    prediction: Prediction
    places: Tensor
    weights: Tensor


@torch.inference_mode()
def looked(model: PoseEstimator, batch: Batch, features: Maps) -> Looked:
    """Predict, and keep what the last layer's deformable attention read in the steps that wrote each keypoint.

    features: `backbone(batch.images)`. The last layer has the last word of where a keypoint lies; those before it look
    around where it was thought to be. With `model.refine` it is the second pass, which has the last word, too. In `xy`
    a keypoint has two steps, x and y, with half of the weight each. The model runs as it is written, not compiled.
    """
    assert not model.way.compiled, "hooks of a compiled layer hear nothing"
    attention = cast(DeformableAttention, cast(DecoderLayer, model.decoder.layers[-1]).image_attention)
    calls: list[tuple[Tensor, Tensor, Maps]] = []
    handle = attention.register_forward_pre_hook(lambda _, given: calls.append(given))
    try:
        prediction = model.predict(batch, features)
    finally:
        handle.remove()
    last = calls[-1:] if model.config.refine else calls
    x, reference = torch.cat([call[0] for call in last], dim=1), torch.cat([call[1] for call in last], dim=1)
    places, weights = attention.looked(x, reference, last[0][2])
    plan = model.decoder.plan(batch.joints.shape[1], batch.joints.device)
    if model.config.sequence == "point":
        return Looked(prediction, places[:, plan.x], weights[:, plan.x])
    both = torch.cat([places[:, plan.x], places[:, plan.y]], dim=2)
    return Looked(prediction, both, torch.cat([weights[:, plan.x], weights[:, plan.y]], dim=2) / 2)
