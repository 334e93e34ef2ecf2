"""Constrained generation: exactly K keypoints, then <eos> (paper §5.5).

The structural tokens are forced by the grammar, so they enter the decoder together with the coordinate before them:
two calls a keypoint in `xy`, one in `point`. The number of keypoints is known and never read off the model.
"""

from __future__ import annotations

import torch
from torch import Tensor

from capetune.models.decoder import Cache, Decoder, Memory
from capetune.models.tokens import Kind, bins
from capetune.pose import Prediction


@torch.no_grad()
def generate(decoder: Decoder, memory: Memory, cached: bool = True) -> Prediction:
    """Decode B poses of K keypoints (K with padding, as in memory.joints), all together.

    A keypoint lies where the regression head says; its score is the probability of the tokens there, the geometric
    mean over x and y. cached=False decodes the whole prefix anew at every step: the plain path, for tests.
    """
    batch, keypoints = memory.joints.shape
    plan = decoder.plan(keypoints, memory.joints.device)
    sample = memory.start.new_zeros(batch, plan.kind.shape[0], 2)
    xy = memory.start.new_zeros(batch, keypoints, 2)
    score = memory.start.new_zeros(batch, keypoints)
    cache = Cache()
    for step, (kind, keypoint) in enumerate(zip(plan.kind.tolist(), plan.keypoint.tolist(), strict=True)):
        if kind < Kind.X:
            continue  # forced: it enters with the next coordinate step
        begin = cache.steps if cached else 0
        logits, points = decoder(
            plan, sample[:, begin : step + 1], memory, cache if cached else None, every_layer=False
        )
        point, log = points[-1][:, -1], logits[-1][:, -1].float().log_softmax(dim=-1)
        if kind != Kind.Y:
            xy[:, keypoint, 0] = point[:, 0]
        if kind != Kind.X:
            xy[:, keypoint, 1] = point[:, 1]
        score[:, keypoint] += _log_probability(log, xy[:, keypoint], Kind(kind), decoder.config.vocabulary)
        # The token predicted at this step enters at the next one.
        sample[:, step + 1] = xy[:, keypoint]
    # A sure model's probability rounds to 1 in float32.
    certain = (score / 2).exp().clamp(1e-6, 1 - 1e-6)
    return Prediction(xy * memory.joints.unsqueeze(-1), certain * memory.joints)


def _log_probability(log: Tensor, xy: Tensor, kind: Kind, vocabulary: int) -> Tensor:
    """log: (B, A, V + 4). xy: (B, 2). Returns (B,), the log-probability of the bins at this step."""
    place = bins(xy, vocabulary)
    if kind == Kind.POINT:
        return log.gather(2, place.unsqueeze(-1)).sum(dim=(1, 2))
    axis = 0 if kind == Kind.X else 1
    return log[:, 0].gather(1, place[:, axis : axis + 1]).squeeze(1)
