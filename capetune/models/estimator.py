"""The whole model: query image and support pose graph to keypoints."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from capetune.config import ModelConfig
from capetune.models.backbone import Backbone
from capetune.models.decoder import Decoder, Memory
from capetune.models.generate import generate
from capetune.models.support import SupportEncoder
from capetune.models.tokens import Kind, TokenSequence, tokenize
from capetune.pose import Batch, Prediction


@dataclass(frozen=True)
class Output:
    """Teacher-forced decoding: for each layer token logits (B, T, A, V + 4) and points (B, T, 2), and the targets."""

    logits: list[Tensor]
    points: list[Tensor]
    tokens: TokenSequence


class PoseEstimator(nn.Module):
    def __init__(self, config: ModelConfig, pretrained: bool = True) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config, pretrained)
        self.support = SupportEncoder(config)
        self.decoder = Decoder(config)

    def forward(self, batch: Batch, input_noise: float = 0.0, features: Tensor | None = None) -> Output:
        """Teacher-forced: the true coordinate enters at each step, with normal noise of deviation `input_noise`.

        A keypoint without a visible annotation enters at its template's place, since the truth isn't known there.
        features: what `backbone(batch.images)` gave, where it is at hand; then the images aren't looked at.
        """
        # First what waits for the device, while that has nothing to do yet.
        targets = tokenize(self.config.sequence, self.config.vocabulary, batch.target, batch.joints, batch.visible)
        plan = self.decoder.plan(batch.joints.shape[1], batch.joints.device)
        memory = self.remember(batch, self.backbone(batch.images) if features is None else features)
        shown = torch.where(batch.visible.unsqueeze(-1), batch.target, memory.start[:, :-1])
        if input_noise:
            shown = (shown + torch.randn_like(shown) * input_noise).clamp(0.0, 1.0)
        logits, points = self.decoder(plan, entering(plan.kind, plan.keypoint, shown), memory)
        return Output(logits, points, targets)

    def remember(self, batch: Batch, features: Tensor) -> Memory:
        """What decoding needs of a batch. features: from the backbone, (B, width, h, w)."""
        template = torch.where(batch.joints.unsqueeze(-1), batch.template, 0.5)
        support, edges = self.support(template, batch.template_known, batch.adjacency, batch.joints)
        return self.decoder.remember(features, support, edges, template, batch.joints)

    @torch.no_grad()
    def predict(self, batch: Batch, features: Tensor | None = None) -> Prediction:
        """Generate. Nothing of the query's annotation is read. features: as in `forward`."""
        features = self.backbone(batch.images) if features is None else features
        return generate(self.decoder, self.remember(batch, features))


def entering(kind: Tensor, keypoint: Tensor, xy: Tensor) -> Tensor:
    """The coordinates that enter at each step: those of the token before it. xy: (B, K, 2). Returns (B, T, 2)."""
    at = xy[:, keypoint.clamp(max=xy.shape[1] - 1)] * (kind >= Kind.X).unsqueeze(-1)
    return torch.cat([torch.zeros_like(at[:, :1]), at[:, :-1]], dim=1)
