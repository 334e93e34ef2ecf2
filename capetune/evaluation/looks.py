"""Where a model looked in the pairs of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np
import torch

from capetune.datasets.episodes.batch import stack_images
from capetune.datasets.episodes.queries import query_images
from capetune.datasets.packs.reader import Pack
from capetune.evaluation.pair_batch import pair_batch
from capetune.evaluation.protocol import CategoryPairs
from capetune.evaluation.support import own
from capetune.models.estimator import PoseEstimator
from capetune.models.looked import looked
from capetune.pose import Part

AT_ONCE = 8  # a few pairs are looked at, of whatever size


def looks(
    model: PoseEstimator, pack: Pack, size: int, part: Part, pairs: Sequence[CategoryPairs]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each of `pairs`, of one query each, where its K keypoints looked, as `models.looked` has it: places, float64
    (K, P, 2) in [0, 1] of the query's official crop, and weights, float64 (K, P). size: of the crops, pixels."""
    for begin in range(0, len(pairs), AT_ONCE):
        some = pairs[begin : begin + AT_ONCE]
        groups = [part.instances[drawn.category.id] for drawn in some]
        queries = [group[drawn.queries[0]] for drawn, group in zip(some, groups, strict=True)]
        shown = [own(drawn.category, group, drawn.supports) for drawn, group in zip(some, groups, strict=True)]
        batch = pair_batch([(each, [query]) for each, query in zip(shown, queries, strict=True)])
        with (
            closing(query_images(pack, queries, size, torch.get_num_threads(), AT_ONCE)) as images,
            torch.inference_mode(),
        ):
            features = model.backbone(stack_images(list(images)))
        seen = looked(model, batch, features)
        for row, query in enumerate(queries):
            now = row, slice(len(query.xy))
            yield seen.places[now].double().numpy(), seen.weights[now].double().numpy()
