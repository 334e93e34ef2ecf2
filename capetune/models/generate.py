"""Constrained generation: exactly K keypoints, then <eos> (paper §5.5).

The structural tokens are forced by the grammar, so they enter the decoder together with the coordinate before them:
two calls a keypoint in `xy`, one in `point`. The number of keypoints is known and never read off the model.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from capetune.config import ModelConfig
from capetune.models.decoder import Decoder, Memory
from capetune.models.tokens import Kind, Layout, entering
from capetune.pose import Prediction

SURE = 1e-6  # no score is nearer to 0 or 1: a sure one would round to it in float32
NEAR = 0.08  # of the crop's side: a tenth of the longer box side, of which the official crop shows 1.25


@torch.inference_mode()
def generate(decoder: Decoder, memory: Memory, cached: bool = True) -> Prediction:
    """Decode B poses of K keypoints (K with padding, as in memory.joints), all together.

    A keypoint lies where `model.decode` says; with `model.refine` a second pass, which sees the whole first guess, has
    the last word. Its score is the chance, as its tokens have it, that it lies closer than NEAR. cached=False decodes
    the whole prefix anew at every step: the plain path, for tests.
    """
    plan = decoder.plan(memory.joints.shape[1], memory.joints.device)
    xy, logits = first_pass(decoder, memory, plan, cached)
    return finished(decoder, memory, plan, xy, logits)


def finished(decoder: Decoder, memory: Memory, plan: Layout, xy: Tensor, logits: Tensor) -> Prediction:
    """The second pass, where there is one, and the scores. xy, logits: of the first, as `first_pass` gives them."""
    config = decoder.config
    if config.refine:
        layers, points = decoder(plan, entering(plan, xy), decoder.refining(memory, xy), every_layer=False)
        logits = layers[-1]
        xy = places(plan, logits, points[-1], config)
    score = share_near(plan, logits, xy, config.vocabulary).clamp(SURE, 1 - SURE)
    return Prediction(xy * memory.joints.unsqueeze(-1), score * memory.joints)


def first_pass(decoder: Decoder, memory: Memory, plan: Layout, cached: bool = True) -> tuple[Tensor, Tensor]:
    """One keypoint after the other. Returns xy (B, K, 2) and the logits of all steps (B, T, A, V + 4); those of
    structural tokens are zero, for they are forced."""
    batch, keypoints = memory.joints.shape
    steps = len(plan.steps)
    sample = memory.start.new_zeros(batch, steps, 2)
    xy = memory.start.new_zeros(batch, keypoints, 2)
    logits = memory.start.new_zeros(batch, steps, decoder.axes, decoder.tokens)
    cache = decoder.cache(batch, steps, memory.start.device)
    for step, (kind, keypoint) in enumerate(plan.steps):
        if kind < Kind.X:
            continue  # forced: it enters with the next coordinate step
        begin = cache.steps if cached else 0
        layers, points = decoder(
            plan, sample[:, begin : step + 1], memory, cache if cached else None, every_layer=False
        )
        logits[:, step] = layers[-1][:, -1]
        put = place(layers[-1][:, -1:], points[-1][:, -1:], decoder.config)[:, 0]
        if kind != Kind.Y:
            xy[:, keypoint, 0] = put[:, 0]
        if kind != Kind.X:
            xy[:, keypoint, 1] = put[:, 1]
        # The token predicted at this step enters at the next one.
        sample[:, step + 1] = xy[:, keypoint]
    return xy, logits


def places(plan: Layout, logits: Tensor, points: Tensor, config: ModelConfig) -> Tensor:
    """Where decoded steps put the keypoints. logits: (B, T, A, V + 4). points: (B, T, 2). Returns (B, K, 2)."""
    at = place(logits, points, config)
    return torch.stack([at[:, plan.x, 0], at[:, plan.y, 1]], dim=-1)


def place(logits: Tensor, points: Tensor, config: ModelConfig) -> Tensor:
    """`model.decode`, step by step: (B, T, 2). In `xy` only the step's own axis means something."""
    if config.decode == "head":
        return points
    share = logits[..., : config.vocabulary].float().softmax(dim=-1)
    mean = share @ torch.linspace(0, 1, config.vocabulary, device=share.device)
    return mean.expand_as(points) if config.decode == "expectation" else (mean + points) / 2


def share_near(plan: Layout, logits: Tensor, xy: Tensor, vocabulary: int) -> Tensor:
    """Of the distribution over places that each keypoint's coordinate tokens make, x times y, the share within NEAR of
    where it was put. logits: (B, T, A, V + 4). xy: (B, K, 2) in [0, 1]. Returns (B, K).
    """
    share = logits[..., :vocabulary].float().softmax(dim=-1)
    across, down = share[:, plan.x, 0], share[:, plan.y, logits.shape[2] - 1]  # (B, K, V) each
    places = torch.linspace(0, 1, vocabulary, device=xy.device)
    aside = places - xy[..., :1]
    reach = (NEAR**2 - aside.square()).clamp(min=0).sqrt()  # along y, at each place along x
    first = ((xy[..., 1:] - reach) * (vocabulary - 1)).ceil().clamp(0, vocabulary).long()
    past = ((xy[..., 1:] + reach) * (vocabulary - 1)).floor().add(1).clamp(0, vocabulary).long()
    below = F.pad(down.cumsum(dim=-1), (1, 0))  # the share of all places before each
    inside = below.gather(-1, torch.maximum(first, past)) - below.gather(-1, first)
    return (across * inside * (aside.abs() < NEAR)).sum(dim=-1)
