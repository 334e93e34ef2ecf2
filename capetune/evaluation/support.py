"""What a model is shown as support: the supports' mean pose, or, to see what it owes to that, something wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from capetune.datasets.episodes.templates import mean_template, normalise
from capetune.pose import Category, Instance, Part

Shown = tuple[np.ndarray, np.ndarray, np.ndarray]
Support = Callable[[Category, Sequence[Instance], np.ndarray], Shown]
"""(category, its instances, positions (P, shots) of the supports) to template, float (P, K, 2) in units of a box;
known, bool (P, K); and adjacency, bool (K, K)."""


def own(category: Category, instances: Sequence[Instance], supports: np.ndarray) -> Shown:
    """The mean of the supports over those that show the keypoint, and the category's graph."""
    normal = np.stack([normalise(instance) for instance in instances])
    visible = np.stack([instance.visible for instance in instances])
    return *mean_template(normal[supports], visible[supports]), category.graph.adjacency()


def ablations(part: Part) -> dict[str, Support]:
    """By name: `noise`, places drawn evenly over the box; `shuffled`, the own template's keypoints in another order;
    `other`, template and graph of the part's next category, its keypoints repeated or cut to K; it is absent where the
    part has a single category.

    What they draw is the same at every call.
    """
    filled = [category for category in part.categories if part.instances[category.id]]
    following = {c.id: filled[(i + 1) % len(filled)] for i, c in enumerate(filled)}

    def noise(category: Category, instances: Sequence[Instance], supports: np.ndarray) -> Shown:
        template, known, adjacency = own(category, instances, supports)
        return np.random.default_rng(category.id).uniform(size=template.shape), np.ones_like(known), adjacency

    def shuffled(category: Category, instances: Sequence[Instance], supports: np.ndarray) -> Shown:
        template, known, adjacency = own(category, instances, supports)
        order = np.random.default_rng(category.id).permuted(np.indices(known.shape)[1], axis=1)
        return np.take_along_axis(template, order[..., None], 1), np.take_along_axis(known, order, 1), adjacency

    def other(category: Category, instances: Sequence[Instance], supports: np.ndarray) -> Shown:
        shown = following[category.id]
        group = part.instances[shown.id]
        template, known, adjacency = own(shown, group, supports % len(group))
        repeat = np.arange(category.graph.size) % shown.graph.size
        return template[:, repeat], known[:, repeat], adjacency[np.ix_(repeat, repeat)]

    wrong: dict[str, Support] = {"noise": noise, "shuffled": shuffled}
    return wrong | {"other": other} if len(filled) > 1 else wrong


def supports(part: Part) -> dict[str, Support]:
    """`own`, and the `ablations` of a part."""
    return {"own": own, **ablations(part)}
