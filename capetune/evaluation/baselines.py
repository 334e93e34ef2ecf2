"""Predictions made without looking at any image: what a model must beat to have learnt anything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from capetune.datasets.episodes.templates import mean_template, normalise, place
from capetune.pose import Category, Instance


class Template:
    """ "Copy the template": the mean of the supports' poses, each normalised by its box, put into the query's box."""

    name = "template"

    def predict(
        self, category: Category, instances: Sequence[Instance], supports: np.ndarray, queries: np.ndarray
    ) -> np.ndarray:
        """supports: int (P, S), queries: int (P,), positions in `instances`. Returns float64 (P, K, 2) source pixels.

        Of the query only the box is used.
        """
        poses = np.stack([normalise(instance) for instance in instances])
        visible = np.stack([instance.visible for instance in instances])
        template, _ = mean_template(poses[supports], visible[supports])
        return place(template, _boxes(instances)[queries])


class Center:
    """Every keypoint at the centre of the query's box."""

    name = "center"

    def predict(
        self, category: Category, instances: Sequence[Instance], supports: np.ndarray, queries: np.ndarray
    ) -> np.ndarray:
        """As `Template.predict`; the supports are not looked at."""
        return place(np.full((len(queries), category.graph.size, 2), 0.5), _boxes(instances)[queries])


def _boxes(instances: Sequence[Instance]) -> np.ndarray:
    return np.stack([instance.box for instance in instances])
