"""The official pairs of MP-100: which instances support which query, the same for everyone who evaluates."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from capetune.datasets.mp100.catalogue import known
from capetune.pose import Category, Instance, Part

Measure = Literal["official", "paper"]
QUERIES = 15
EPISODES = {"test": 200, "val": 100}
OTHERS = "categories that are not MP-100's"


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


def is_official(part: Part, episodes: int, queries: int) -> bool:
    """Whether these are the official pairs: the protocol's numbers, on a part of MP-100 that is whole."""
    return queries == QUERIES and EPISODES.get(part.part) == episodes and not part.left_out and not _other(part)


def protocol_name(part: Part, episodes: int, queries: int, seen: str = "", measure: Measure = "official") -> str:
    """ "official" where the pairs are, and the model saw none of them, else what differs.

    Instances that the data lacks are left out, and others drawn in their place. seen: what of the part the model was
    trained on, in words. measure: as `evaluate` has it; by the paper's nothing is official.
    """
    paper = measure == "paper"
    official = is_official(part, episodes, queries) and not seen and not paper
    name = "official" if official else f"sampled as officially, {in_episodes(episodes, queries)}"
    name = f"by the image's diagonal (the paper's preliminary measure), {name}" if paper else name
    lacks = f"{part.left_out} instances left out" if part.left_out else ""
    other = "" if part.synthetic else _other(part)  # which is said of synthetic data already
    return ", ".join(said for said in (name, other, lacks, seen) if said)


def _other(part: Part) -> str:
    """What it is other than MP-100's; empty where nothing."""
    if not all(known(category.id, category.name) for category in part.categories):
        return OTHERS
    return "a split that is not MP-100's" if part.own else ""
