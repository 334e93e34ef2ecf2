"""Scores a predictor on the official pairs, always beside the template baseline on the same pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from capetune.datasets.episodes.flips import mirrored
from capetune.errors import UserError
from capetune.evaluation.baselines import Template
from capetune.evaluation.examples import Chooser
from capetune.evaluation.failures import Failures, kinds
from capetune.evaluation.figures import Figures
from capetune.evaluation.pck import CURVE, mpck4, pck_curve
from capetune.evaluation.protocol import (
    QUERIES,
    CategoryPairs,
    Measure,
    official_pairs,
    pair_visible,
    pairs_hash,
    protocol_name,
)
from capetune.evaluation.report import CategoryScores, EvalReport, Scores
from capetune.pose import Instance, Part


class Predictor(Protocol):
    """Whatever puts all K keypoints on a query, given supports of its category."""

    @property
    def name(self) -> str: ...

    def predict_all(
        self, instances: Mapping[int, Sequence[Instance]], pairs: Sequence[CategoryPairs]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """instances: by category id, what the positions in `pairs` are positions of.

        Yields for each entry of `pairs`, once and in whatever order they are done, its position there and the
        predictions, float (P, K, 2) source pixels, finite everywhere. The keypoints of a query's instance are the
        truth: only its box and image may be used.
        """
        ...


def evaluate(
    part: Part,
    predictor: Predictor,
    shots: int,
    episodes: int,
    queries: int = QUERIES,
    progress: Callable[[int, int], None] | None = None,
    measure: Measure = "official",
    looked: bool = True,
) -> EvalReport:
    """The predictor's scores on the official pairs of a part.

    measure: "official" divides distances by the longer side of the query's box; "paper" by its image's diagonal, as the
    preliminary figures of the paper's section 6 were made, whose section 4 says the box. What is missed, and of which
    kind, is told by the box either way. looked: whether somebody will look at kinds of failures, examples and curves;
    without, they are empty.
    progress: called with (categories done, categories in all) after each one. UserError where no category has enough
    instances for one episode. ValueError where the predictor breaks its contract: a failure is not a score.
    """
    pairs = official_pairs(part, shots, episodes, queries)
    if not pairs.categories:
        most = max((len(group) for group in part.instances.values()), default=0)
        raise UserError(
            f"no category of split {part.split} {part.part} has the {shots + queries} instances that an episode needs "
            f"(supports: {shots}, queries: {queries}; the largest has {most}); lower --queries or --shots"
        )
    template = Template()
    found: dict[int, Figures] = {}
    baselines: dict[int, Figures] = {}
    rows: dict[int, CategoryScores] = {}
    chooser = Chooser(len(pairs.categories), queries)
    empty = 0
    for place, predicted in predictor.predict_all(part.instances, pairs.categories):
        drawn = pairs.categories[place]
        category, instances = drawn.category, part.instances[drawn.category.id]
        if place in rows:
            raise ValueError(f"{predictor.name} predicted {category.name} ({category.id}) twice")
        visible = pair_visible(instances, drawn)
        counts = np.asarray(visible.any(axis=1))
        truth = np.stack([instance.xy for instance in instances])[drawn.queries]
        side = np.array([instance.side for instance in instances])[drawn.queries]
        unit = side if measure == "official" else np.array([_diagonal(each) for each in instances])[drawn.queries]
        copied = template.predict(category, instances, drawn.supports, drawn.queries)
        _check(predicted, truth.shape, f"{predictor.name} on {category.name} ({category.id})")
        found[place] = Figures.of(predicted, truth, visible, unit)
        baselines[place] = Figures.of(copied, truth, visible, unit)
        scores = mpck4(found[place].pck), mpck4(baselines[place].pck)
        means = scores[0].reshape(episodes, queries).mean(axis=1)
        rows[place] = CategoryScores(category, Scores.of(found[place]), Scores.of(baselines[place]), means)
        if looked:
            missed = kinds(predicted, truth, copied, visible, side, mirrored(category.graph))
            failures = Failures.of(missed, copied, truth, visible, side)
            curves = [pck_curve(xy, truth, visible, unit, CURVE).mean(axis=0) for xy in (predicted, copied)]
            rows[place] = replace(rows[place], failures=failures, curves=np.stack(curves))
            chooser.take(drawn, instances, predicted, missed, counts, scores, found[place].nme)
        empty += int((~counts).sum())
        if progress is not None:
            progress(len(rows), len(pairs.categories))
    if len(rows) < len(pairs.categories):
        raise ValueError(f"{predictor.name} predicted {len(rows)} of {len(pairs.categories)} categories")
    order = range(len(rows))
    return EvalReport(
        protocol=protocol_name(part, episodes, queries, measure=measure),
        measure=measure,
        split=part.split,
        part=part.part,
        shots=shots,
        episodes=episodes,
        queries=queries,
        synthetic=part.synthetic,
        predictor=predictor.name,
        empty_pairs=empty,
        scores=Scores.of(Figures.joined([found[place] for place in order])),
        template=Scores.of(Figures.joined([baselines[place] for place in order])),
        per_category=tuple(rows[place] for place in order),
        not_sampled=pairs.not_sampled,
        left_out=part.left_out,
        pairs_hash=pairs_hash(part, pairs),
        examples=chooser.chosen(),
    )


def _diagonal(instance: Instance) -> float:
    """Of its image, in pixels."""
    return math.hypot(*instance.image_size)


def _check(predicted: np.ndarray, shape: tuple[int, ...], who: str) -> None:
    # A missing or NaN keypoint would count as a plain miss and hide that the predictor is broken.
    if predicted.shape != shape:
        raise ValueError(f"{who}: predicted {predicted.shape}, wanted {shape}: exactly K keypoints a pair")
    if not np.isfinite(predicted).all():
        raise ValueError(f"{who}: {np.count_nonzero(~np.isfinite(predicted))} predicted coordinates are not finite")
