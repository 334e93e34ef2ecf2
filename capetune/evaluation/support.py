"""What a model is shown as support: the supports' mean pose and how they look, or, to see what it owes to that,
something wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from capetune.datasets.episodes.templates import mean_template, normalise, place
from capetune.pose import Category, Instance, Part


@dataclass(frozen=True, eq=False)
class LookedAt:
    """Whose images a model looks at that looks at any. instances: of whatever category, K' keypoints each; where these
    are visible it is looked. supports: (P, shots), positions in `instances`. order: (P, K), which of the K' stands for
    each keypoint.
    """

    instances: Sequence[Instance]
    supports: np.ndarray
    order: np.ndarray


class Shown(NamedTuple):
    """template: float (P, K, 2) in units of a box. known: bool (P, K). adjacency: bool (K, K). looked_at: None where
    nothing can be."""

    template: np.ndarray
    known: np.ndarray
    adjacency: np.ndarray
    looked_at: LookedAt | None = None


Support = Callable[[Category, Sequence[Instance], np.ndarray], Shown]
"""(category, its instances, positions (P, shots) of the supports) to what is shown."""


def own(category: Category, instances: Sequence[Instance], supports: np.ndarray) -> Shown:
    """The mean of the supports over those that show the keypoint, the category's graph, and the supports' images."""
    normal = np.stack([normalise(instance) for instance in instances])
    visible = np.stack([instance.visible for instance in instances])
    template, known = mean_template(normal[supports], visible[supports])
    order = np.tile(np.arange(category.graph.size), (len(supports), 1))
    return Shown(template, known, category.graph.adjacency(), LookedAt(instances, supports, order))


def ablations(part: Part, looks: bool = False) -> dict[str, Support]:
    """By name: `noise`, places drawn evenly over the box, and what the supports' images show at others; `shuffled`, the
    own template's keypoints in another order; `other`, template, graph and images of the part's next category, its
    keypoints repeated or cut to K; and for a model that looks at images, `other images`, the own template and those.
    The last two are absent where the part has a single category.

    What they draw is the same at every call.
    """
    filled = [category for category in part.categories if part.instances[category.id]]
    following = {c.id: filled[(i + 1) % len(filled)] for i, c in enumerate(filled)}

    def noise(category: Category, instances: Sequence[Instance], supports: np.ndarray) -> Shown:
        template, known, adjacency, looked_at = own(category, instances, supports)
        rng = np.random.default_rng(category.id)
        template = rng.uniform(size=template.shape)
        seen = np.ones(category.graph.size, dtype=bool)
        anywhere = [
            replace(each, xy=place(rng.uniform(size=each.xy.shape), each.box), visible=seen) for each in instances
        ]
        looked_at = looked_at and replace(looked_at, instances=anywhere)
        return Shown(template, np.ones_like(known), adjacency, looked_at)

    def shuffled(category: Category, instances: Sequence[Instance], supports: np.ndarray) -> Shown:
        template, known, adjacency, looked_at = own(category, instances, supports)
        order = np.random.default_rng(category.id).permuted(np.indices(known.shape)[1], axis=1)
        template, known = np.take_along_axis(template, order[..., None], 1), np.take_along_axis(known, order, 1)
        return Shown(template, known, adjacency, looked_at and replace(looked_at, order=order))

    def other(category: Category, instances: Sequence[Instance], supports: np.ndarray) -> Shown:
        shown = following[category.id]
        group = part.instances[shown.id]
        template, known, adjacency, looked_at = own(shown, group, supports % len(group))
        repeat = np.arange(category.graph.size) % shown.graph.size
        looked_at = looked_at and replace(looked_at, order=looked_at.order[:, repeat])
        return Shown(template[:, repeat], known[:, repeat], adjacency[np.ix_(repeat, repeat)], looked_at)

    def other_images(category: Category, instances: Sequence[Instance], supports: np.ndarray) -> Shown:
        shown = own(category, instances, supports)
        return shown._replace(looked_at=other(category, instances, supports).looked_at)

    wrong: dict[str, Support] = {"noise": noise, "shuffled": shuffled}
    if len(filled) > 1:
        wrong |= {"other": other, "other images": other_images} if looks else {"other": other}
    return wrong


def supports(part: Part, looks: bool = False) -> dict[str, Support]:
    """`own`, and the `ablations` of a part. looks: for a model that looks at images of supports."""
    return {"own": own, **ablations(part, looks)}
