"""What training draws from: the train instances of a split, and a template for each out of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from capetune.datasets.episodes.flips import mirrored
from capetune.datasets.episodes.templates import mean_template, normalise
from capetune.datasets.packs.reader import Pack
from capetune.errors import UserError
from capetune.pose import Category, Instance


class TrainSet:
    """The packed train instances of a split whose category has at least two: one to ask for, one to show.

    Raises UserError where there are none. `lonely` are the categories left out because they have a single one;
    `flippable` the ids of those whose names tell what a mirror exchanges.
    """

    def __init__(self, pack: Pack, split: int) -> None:
        part = pack.part(split, "train")
        self.categories: dict[int, Category] = {}
        self.instances: dict[int, Instance] = {}
        self.lonely: list[Category] = []
        self._groups: dict[int, tuple[Instance, ...]] = {}
        self._place: dict[int, int] = {}
        self._normalised: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for category in part.categories:
            group = part.instances[category.id]
            if len(group) == 1:
                self.lonely.append(category)
            if len(group) < 2:
                continue
            self.categories[category.id] = category
            self._groups[category.id] = group
            for place, instance in enumerate(group):
                self.instances[instance.id] = instance
                self._place[instance.id] = place
        self.flippable = {id for id, category in self.categories.items() if mirrored(category.graph) is not None}
        if not self.instances:
            raise UserError(
                f"{pack.address} has no category with two train instances in split {split}: "
                "pack more images or choose another split (--set data.split=…)"
            )

    def __len__(self) -> int:
        return len(self.instances)

    @property
    def counts(self) -> dict[int, int]:
        """How many instances each category has, by id."""
        return {id: len(group) for id, group in self._groups.items()}

    def template(
        self, query: Instance, shots: Sequence[int | Literal["all"]], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean normalised pose of `supports`: the template (K, 2) in units of a box and known (K,), as `mean_template`
        gives them."""
        return self.mean(self.supports(query, shots, rng))

    def supports(
        self, query: Instance, shots: Sequence[int | Literal["all"]], rng: np.random.Generator
    ) -> list[Instance]:
        """k other instances of the query's category; k is drawn from `shots`, or is `all`.

        A category with fewer than k + 1 instances gives all it has but the query, which is never its own support.
        """
        group = self._groups[query.category_id]
        others = len(group) - 1
        drawn = shots[int(rng.integers(len(shots)))]
        chosen = rng.choice(others, size=others if drawn == "all" else min(drawn, others), replace=False)
        chosen += chosen >= self._place[query.id]  # step over the query
        return [group[place] for place in chosen.tolist()]

    def mean(self, supports: Sequence[Instance]) -> tuple[np.ndarray, np.ndarray]:
        """The template of instances of one category, as `template` gives it."""
        xy, visible = self._poses(supports[0].category_id)
        chosen = [self._place[support.id] for support in supports]
        return mean_template(xy[chosen], visible[chosen])

    def _poses(self, category_id: int) -> tuple[np.ndarray, np.ndarray]:
        """(S, K, 2) normalised and (S, K) visible, of all instances of a category."""
        if category_id not in self._normalised:
            group = self._groups[category_id]
            self._normalised[category_id] = (
                np.stack([normalise(instance) for instance in group]),
                np.stack([instance.visible for instance in group]),
            )
        return self._normalised[category_id]
