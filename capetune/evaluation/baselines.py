"""Predictions made without looking at any image: what a model must beat to have learnt anything."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from capetune.datasets.episodes.templates import mean_template, normalise, place
from capetune.evaluation.protocol import CategoryPairs
from capetune.pose import Category, Instance


class ByCategory(ABC):
    """A predictor for which one category is as good as all together."""

    @abstractmethod
    def predict(
        self, category: Category, instances: Sequence[Instance], supports: np.ndarray, queries: np.ndarray
    ) -> np.ndarray:
        """supports: int (P, S), queries: int (P,), positions in `instances`. Returns float64 (P, K, 2) source pixels.

        Of the query only the box is used.
        """

    def predict_all(
        self, instances: Mapping[int, Sequence[Instance]], pairs: Sequence[CategoryPairs]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """As `Predictor` has it, in the order of `pairs`."""
        for i, drawn in enumerate(pairs):
            category = drawn.category
            yield i, self.predict(category, instances[category.id], drawn.supports, drawn.queries)


class Template(ByCategory):
    """ "Copy the template": the mean of the supports' poses, each normalised by its box, put into the query's box."""

    name = "template"

    def predict(
        self, category: Category, instances: Sequence[Instance], supports: np.ndarray, queries: np.ndarray
    ) -> np.ndarray:
        poses = np.stack([normalise(instance) for instance in instances])
        visible = np.stack([instance.visible for instance in instances])
        template, _ = mean_template(poses[supports], visible[supports])
        return place(template, _boxes(instances)[queries])


class Center(ByCategory):
    """Every keypoint at the centre of the query's box; the supports are not looked at."""

    name = "center"

    def predict(
        self, category: Category, instances: Sequence[Instance], supports: np.ndarray, queries: np.ndarray
    ) -> np.ndarray:
        return place(np.full((len(queries), category.graph.size, 2), 0.5), _boxes(instances)[queries])


def _boxes(instances: Sequence[Instance]) -> np.ndarray:
    return np.stack([instance.box for instance in instances])
