"""The whole model: query image and support pose graph to keypoints."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from capetune.config import LossConfig, ModelConfig, TrainConfig
from capetune.models.backbone import Backbone, Maps
from capetune.models.decoder import Decoder, Memory
from capetune.models.execution import Way, prepare, way
from capetune.models.generate import SURE, generate, places
from capetune.models.looks import Looks, averaged, read
from capetune.models.losses import total_loss
from capetune.models.prefix import disturbed
from capetune.models.support import SupportEncoder
from capetune.models.tokens import TokenSequence, entering, tokenize
from capetune.pose import Batch, Prediction


@dataclass(frozen=True)
class Output:
    """Teacher-forced decoding: token logits (B, T, A, V + 4) and points (B, T, 2) of each layer, and the targets.

    With `model.refine` the second pass's layers follow the first's. forced: (B, K, 2), where the last pass puts each
    keypoint, the first having been given true places: what `predict` gives, but for the mistakes it makes on the way.
    """

    logits: list[Tensor]
    points: list[Tensor]
    tokens: TokenSequence
    forced: Tensor


Answer = tuple[Prediction, dict[str, Tensor], Tensor | None]


class PoseEstimator(nn.Module):
    """calibration: slope and offset of what `evaluation.calibration` has found of this model's scores; (1, 0) leaves
    them as its tokens have them, as training does."""

    def __init__(self, config: ModelConfig, pretrained: bool = True) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config, pretrained)
        self.support = SupportEncoder(config, sum(self.backbone.net.channels))
        self.decoder = Decoder(config)
        self.way = Way()
        self.calibration = (1.0, 0.0)

    def settle(self, device: torch.device | str, steps: int = 0) -> PoseEstimator:
        """Move to a device, and run there as `way` has it. Returns the model."""
        prepare(device)
        return self.to(device).run_as(way(self.config, device, steps))

    def run_as(self, way: Way) -> PoseEstimator:
        """Run it and its copies so from now on; capturing is left to the callers, by `Captured`. Returns the model."""
        self.way = way
        self.backbone.compiled = self.decoder.compiled = way.compiled
        return self

    def forward(
        self,
        batch: Batch,
        train: TrainConfig | None = None,
        kept: Maps | None = None,
        memory: Memory | None = None,
    ) -> Output:
        """Teacher-forced: the true place of each keypoint enters after it, disturbed as `train` asks for.

        A keypoint without a visible annotation enters at its template's place, since the truth isn't known there.
        kept: what `backbone.features` gave for the images, where it is at hand; then these aren't looked at. memory:
        what `remember` gave, where that is at hand; then neither is kept.
        """
        # First what waits for the device, while that has nothing to do yet.
        targets = tokenize(self.config.sequence, self.config.vocabulary, batch.target, batch.joints, batch.visible)
        plan = self.decoder.plan(batch.joints.shape[1], batch.joints.device)
        if memory is None:
            features = self.backbone(batch.images) if kept is None else self.backbone.embed(kept)
            memory = self.remember(batch, features)
        shown = torch.where(batch.visible.unsqueeze(-1), batch.target, memory.start[:, :-1])
        if train is not None:
            shown = disturbed(shown, memory.start[:, :-1], train)
        logits, points = self.decoder(plan, entering(plan, shown), memory)
        forced = places(plan, logits[-1].detach(), points[-1].detach(), self.config)
        if self.config.refine:
            more = self.decoder(plan, entering(plan, forced), self.decoder.refining(memory, forced))
            logits, points = logits + more[0], points + more[1]
            forced = places(plan, logits[-1].detach(), points[-1].detach(), self.config)
        return Output(logits, points, targets, forced * batch.joints.unsqueeze(-1))

    def remember(self, batch: Batch, features: Maps) -> Memory:
        """What decoding needs of a batch. features: from the backbone, a map a stride, (B, width, h, w)."""
        template = torch.where(batch.joints.unsqueeze(-1), batch.template, 0.5)
        if self.config.support.source == "features":
            template = torch.full_like(template, 0.5)
        looks = self.looks(batch) if self.config.support.looks else None
        support, edges = self.support(template, batch.template_known, batch.adjacency, batch.joints, looks)
        return self.decoder.remember(features, support, edges, template, batch.joints)

    def looks(self, batch: Batch) -> Looks:
        """How the batch's supports look; images go through the backbone as queries do, and train it."""
        looks, images, visible = batch.support_looks, batch.support_images, batch.support_visible
        assert looks is not None, "this model must be shown its supports' images"
        assert visible is not None
        if images is not None:
            assert batch.support_xy is not None
            found = read(self.backbone.features(images.flatten(0, 1)), batch.support_xy.flatten(0, 1))
            looks = found.unflatten(0, images.shape[:2])
        return averaged(looks, visible)

    @torch.inference_mode()
    def predict(self, batch: Batch, features: Maps | None = None) -> Prediction:
        """Generate. Nothing of the query's annotation is read. features: `backbone(batch.images)`, or None."""
        features = self.backbone(batch.images) if features is None else features
        return self.answer(batch, features)[0]

    @torch.inference_mode()
    def answer(self, batch: Batch, features: Maps, losses: LossConfig | None = None) -> Answer:
        """Generate; with `losses`, decode teacher-forced as well. features: as in `predict`.

        Returns the prediction; and teacher-forced, the losses of each pose, as in `total_loss`, and `Output.forced`.
        """
        memory = self.remember(batch, features)
        prediction = self.calibrated(generate(self.decoder, memory), batch.joints)
        if losses is None:
            return prediction, {}, None
        output = self(batch, memory=memory)
        return prediction, total_loss(output.logits, output.points, output.tokens, losses, each=True), output.forced

    def calibrated(self, prediction: Prediction, joints: Tensor) -> Prediction:
        """With the scores that `calibration` makes of its own. joints: bool (B, K); elsewhere they are 0."""
        slope, offset = self.calibration
        if (slope, offset) == (1.0, 0.0):
            return prediction
        score = (slope * prediction.score.logit(SURE) + offset).sigmoid().clamp(SURE, 1 - SURE)
        return Prediction(prediction.xy, score * joints)
