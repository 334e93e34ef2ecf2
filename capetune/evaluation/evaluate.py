"""Scores a predictor on the official pairs, always beside the template baseline on the same pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from capetune.errors import UserError
from capetune.evaluation.baselines import Template
from capetune.evaluation.pck import pck_curve
from capetune.evaluation.protocol import QUERIES, official_pairs, pair_visible, protocol_name
from capetune.evaluation.report import CategoryScores, EvalReport, Scores
from capetune.pose import Category, Instance, Part


class Predictor(Protocol):
    """Whatever puts all K keypoints on a query, given supports of its category."""

    @property
    def name(self) -> str: ...

    def predict(
        self, category: Category, instances: Sequence[Instance], supports: np.ndarray, queries: np.ndarray
    ) -> np.ndarray:
        """supports: int (P, S), queries: int (P,), positions in `instances`. Returns float (P, K, 2) source pixels.

        Finite everywhere. The keypoints of a query's instance are the truth: only its box and image may be used.
        """
        ...


def evaluate(
    part: Part,
    predictor: Predictor,
    shots: int,
    episodes: int,
    queries: int = QUERIES,
    progress: Callable[[int, int], None] | None = None,
) -> EvalReport:
    """The predictor's scores on the official pairs of a part.

    progress: called with (categories done, categories in all) after each one. UserError where no category has enough
    instances for one episode. ValueError where the predictor breaks its contract: a failure is not a score.
    """
    pairs = official_pairs(part, shots, episodes, queries)
    if not pairs.categories:
        most = max((len(group) for group in part.instances.values()), default=0)
        raise UserError(
            f"no category of split {part.split} {part.part} has the {shots + queries} instances an episode of {shots} "
            f"shots and {queries} queries needs (the largest has {most}); lower --queries or --shots"
        )
    template = Template()
    curves, baselines, rows, empty = [], [], [], 0
    for done, drawn in enumerate(pairs.categories, start=1):
        category, instances = drawn.category, part.instances[drawn.category.id]
        visible = pair_visible(instances, drawn)
        truth = np.stack([instance.xy for instance in instances])[drawn.queries]
        side = np.array([instance.side for instance in instances])[drawn.queries]
        copied = template.predict(category, instances, drawn.supports, drawn.queries)
        predicted = predictor.predict(category, instances, drawn.supports, drawn.queries)
        _check(predicted, truth.shape, f"{predictor.name} on {category.name} ({category.id})")
        curves.append(pck_curve(predicted, truth, visible, side))
        baselines.append(pck_curve(copied, truth, visible, side))
        rows.append(CategoryScores(category, Scores.of(curves[-1]), Scores.of(baselines[-1])))
        empty += int((~visible.any(axis=1)).sum())
        if progress is not None:
            progress(done, len(pairs.categories))
    return EvalReport(
        protocol=protocol_name(part.part, episodes, queries, part.left_out),
        split=part.split,
        part=part.part,
        shots=shots,
        episodes=episodes,
        queries=queries,
        synthetic=part.synthetic,
        predictor=predictor.name,
        empty_pairs=empty,
        scores=Scores.of(np.concatenate(curves)),
        template=Scores.of(np.concatenate(baselines)),
        per_category=tuple(rows),
        not_sampled=pairs.not_sampled,
        left_out=part.left_out,
    )


def _check(predicted: np.ndarray, shape: tuple[int, ...], who: str) -> None:
    # A missing or NaN keypoint would count as a plain miss and hide that the predictor is broken.
    if predicted.shape != shape:
        raise ValueError(f"{who}: predicted {predicted.shape}, wanted {shape}: exactly K keypoints a pair")
    if not np.isfinite(predicted).all():
        raise ValueError(f"{who}: {np.count_nonzero(~np.isfinite(predicted))} predicted coordinates are not finite")
