"""The official pairs of MP-100: which instances support which query, the same for everyone who evaluates."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from capetune.pose import Category, Instance, Part

Measure = Literal["official", "paper"]
QUERIES = 15
EPISODES = {"test": 200, "val": 100}


@dataclass(frozen=True, eq=False)
class CategoryPairs:
    """The P = episodes · queries pairs of a category, as positions in `part.instances[category.id]`.

    supports: int64 (P, shots). queries: int64 (P,), in the order they were drawn; no query is among its supports.
    """

    category: Category
    supports: np.ndarray
    queries: np.ndarray


@dataclass(frozen=True)
class NotSampled:
    """A category with fewer instances than an episode needs."""

    category: Category
    instances: int
    needed: int


@dataclass(frozen=True, eq=False)
class Pairs:
    """Categories in file order; each one of the part is in `categories` or in `not_sampled`."""

    shots: int
    episodes: int
    queries: int
    categories: tuple[CategoryPairs, ...]
    not_sampled: tuple[NotSampled, ...]


def official_pairs(part: Part, shots: int, episodes: int, queries: int = QUERIES) -> Pairs:
    """The pairs of the official code (Xu et al. 2022), for any number of shots, episodes and queries, each ≥ 1.

    One Mersenne Twister seeded with 1 runs through the categories in file order. A category that can't be sampled
    draws nothing from it, as in the official code, whose `random.sample` raises before it draws.
    """
    generator = random.Random(1)
    needed = shots + queries
    sampled, not_sampled = [], []
    for category in part.categories:
        count = len(part.instances[category.id])
        if count < needed:
            not_sampled.append(NotSampled(category, count, needed))
            continue
        drawn = np.array([generator.sample(range(count), needed) for _ in range(episodes)], dtype=np.int64)
        supports = np.repeat(drawn[:, :shots], queries, axis=0)
        sampled.append(CategoryPairs(category, supports, drawn[:, shots:].reshape(-1)))
    return Pairs(shots, episodes, queries, tuple(sampled), tuple(not_sampled))


def pairs_hash(part: Part, pairs: Pairs) -> str:
    """Twelve hexadecimal digits of what is asked and what is right: the ids of every pair's supports and query, and the
    boxes, keypoints and visibility of each category's instances. A pack and the files it is made of have the same.
    """
    digest = hashlib.sha256()
    for drawn in pairs.categories:
        group = part.instances[drawn.category.id]
        ids = np.array([instance.id for instance in group], dtype=np.int64)
        digest.update(f"{drawn.category.id} {drawn.category.graph.size} {drawn.supports.shape}".encode())
        truth = [np.stack([getattr(instance, name) for instance in group]) for name in ("box", "xy", "visible")]
        for array in (ids[drawn.supports], ids[drawn.queries], *truth):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]


def pair_visible(instances: Sequence[Instance], pairs: CategoryPairs) -> np.ndarray:
    """The keypoints a pair is scored on: visible in the query and in every support. bool (P, K), True = real."""
    visible = np.stack([instance.visible for instance in instances])
    return visible[pairs.queries] & visible[pairs.supports].all(axis=1)


def in_episodes(episodes: int, queries: int) -> str:
    """ "3 episodes of 15 queries a category"."""
    return f"{episodes} episode{'s' * (episodes > 1)} of {queries} quer{'ies' if queries > 1 else 'y'} a category"


def protocol_name(
    part: str, episodes: int, queries: int, left_out: int = 0, seen: str = "", measure: Measure = "official"
) -> str:
    """ "official" where the numbers are those of the official protocol, else what was changed.

    left_out: instances of the part that the data lacks; others are drawn in their place, so the pairs differ. seen:
    what of it the model was trained on, in words. measure: as `evaluate` has it; by the paper's nothing is official.
    """
    paper = measure == "paper"
    official = not paper and queries == QUERIES and EPISODES.get(part) == episodes and not left_out and not seen
    name = "official" if official else f"sampled as officially, {in_episodes(episodes, queries)}"
    name = f"by the image's diagonal (the paper's preliminary measure), {name}" if paper else name
    return ", ".join([name, *([f"{left_out} instances left out"] if left_out else []), *([seen] if seen else [])])
