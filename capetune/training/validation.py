"""What a training's validation measures, after every epoch."""

from __future__ import annotations

import numpy as np

from capetune.config import Config
from capetune.datasets.packs.reader import Pack
from capetune.evaluation.calibration import fitted
from capetune.evaluation.evaluate import evaluate
from capetune.evaluation.model import ModelPredictor
from capetune.evaluation.pck import THRESHOLDS
from capetune.evaluation.shared import SharedPredictor
from capetune.models.estimator import PoseEstimator
from capetune.training.features import Features
from capetune.training.ranks import Ranks


class Validation:
    """Generated PCK and teacher-forced losses, means over the val part's pairs. Every rank gets the same metrics."""

    def __init__(
        self, model: PoseEstimator, pack: Pack, config: Config, ranks: Ranks, features: Features | None = None
    ) -> None:
        self.config, self.ranks = config, ranks
        self.part = pack.part(config.data.split, "val")
        kept = features.validation if features else None
        self.predictor = ModelPredictor(model, pack, config.data, ranks.device, losses=config.loss, kept=kept)

    def __call__(self) -> dict[str, float]:
        """With the model's weights as they are now."""
        settings, ranks, predictor = self.config.validation, self.ranks, self.predictor.begin()
        shared = SharedPredictor(predictor, ranks.rank, ranks.world, ranks.gather)
        report = evaluate(self.part, shared, settings.shots, settings.episodes, settings.queries, looked=False)
        losses = predictor.mean_losses() | {"generate_ms": 1000 * predictor.seconds / max(predictor.pairs, 1)}
        shares = np.stack(ranks.gather(np.array([predictor.pairs, *losses.values()])))
        means = np.average(shares[:, 1:], axis=0, weights=shares[:, 0])
        metrics = {f"val_{name}": float(value) for name, value in zip(losses, means, strict=True)}
        metrics |= {name: metrics.pop(f"val_{name}") for name in ("forced_mpck4", "generate_ms")}
        judged = np.concatenate([share.reshape(2, -1) for share in ranks.gather(predictor.judged.ravel())], axis=1)
        metrics["score_slope"], metrics["score_offset"] = fitted(*judged)
        scores = report.scores
        metrics |= {"mpck4": scores.mpck4, "mpck5": scores.mpck5, "template_mpck4": report.template.mpck4}
        return metrics | {f"pck_{t:g}": value for t, value in zip(THRESHOLDS, scores.pck, strict=True)}
