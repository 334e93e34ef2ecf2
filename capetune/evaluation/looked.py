"""Where a model looked in the pairs of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from capetune.config import DataConfig
from capetune.datasets.packs.reader import Pack
from capetune.evaluation.model import ModelPredictor
from capetune.evaluation.protocol import CategoryPairs
from capetune.models.estimator import PoseEstimator
from capetune.models.looked import watched
from capetune.pose import Part


def looked(
    model: PoseEstimator, pack: Pack, data: DataConfig, part: Part, pairs: Sequence[CategoryPairs]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each of `pairs`, of one query each, where its K keypoints looked, as `models.looked` has it: places, float64
    (K, P, 2) in [0, 1] of the query's official crop, and weights, float64 (K, P)."""
    predictor = ModelPredictor(model, pack, data)
    for drawn in pairs:
        with watched(model) as watch:
            for _ in predictor.predict_all(part.instances, [drawn]):
                pass
        places, weights = watch.looked(drawn.category.graph.size)
        yield places[0].double().numpy(), weights[0].double().numpy()
