from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from capetune.evaluation.protocol import is_official, official_pairs, pair_visible, pairs_hash, protocol_name
from capetune.pose import Category, Part, PoseGraph


@pytest.mark.parametrize("shots", [1, 5])
def test_pairs_are_drawn_as_the_official_code_draws_them(make_part, shots):
    part = make_part({9: 30, 2: 25})
    objects = {9: list(range(100, 130)), 2: list(range(500, 525))}
    random.seed(1)
    expected: dict[int, list[list[int]]] = {9: [], 2: []}
    for id in (9, 2):
        for _ in range(7):
            drawn = random.sample(objects[id], shots + 15)
            expected[id] += [[*drawn[:shots], query] for query in drawn[shots:]]
    pairs = official_pairs(part, shots, episodes=7)
    assert [drawn.category.id for drawn in pairs.categories] == [9, 2], "the order of the file"
    for drawn in pairs.categories:
        offset = objects[drawn.category.id][0]
        rows = np.concatenate([drawn.supports, drawn.queries[:, None]], axis=1) + offset
        assert rows.tolist() == expected[drawn.category.id]


def test_drawing_leaves_the_global_generator_alone(make_part):
    random.seed(5)
    before = random.getstate()
    official_pairs(make_part({1: 20}), 1, 3)
    assert random.getstate() == before


def test_no_query_is_among_its_supports(make_part):
    (drawn,) = official_pairs(make_part({1: 21}), 5, episodes=50).categories
    assert drawn.supports.shape == (750, 5)
    assert drawn.queries.shape == (750,)
    assert not (drawn.supports == drawn.queries[:, None]).any()


def test_a_category_that_is_too_small_is_recorded_and_changes_nothing_for_the_rest(make_part):
    pairs = official_pairs(make_part({1: 16, 2: 15, 3: 0, 4: 20}), 1, episodes=4)
    alone = official_pairs(make_part({1: 16, 4: 20}), 1, episodes=4)
    assert [(n.category.id, n.instances, n.needed) for n in pairs.not_sampled] == [(2, 15, 16), (3, 0, 16)]
    assert [drawn.category.id for drawn in pairs.categories] == [1, 4]
    for drawn, other in zip(pairs.categories, alone.categories, strict=True):
        np.testing.assert_array_equal(drawn.supports, other.supports)
        np.testing.assert_array_equal(drawn.queries, other.queries)


def test_a_pair_is_scored_where_the_query_and_every_support_show_the_keypoint(make_part):
    part = make_part({1: 20})
    (drawn,) = official_pairs(part, 3, episodes=5, queries=4).categories
    visible = pair_visible(part.instances[1], drawn)
    assert visible.shape == (20, 4)
    for n, (supports, query) in enumerate(zip(drawn.supports, drawn.queries, strict=True)):
        members = [part.instances[1][i] for i in (query, *supports)]
        assert visible[n].tolist() == [all(m.visible[k] for m in members) for k in range(4)]


@pytest.mark.parametrize(
    ("part", "episodes", "queries", "name"),
    [
        ("test", 200, 15, "official"),
        ("val", 100, 15, "official"),
        ("val", 200, 15, "sampled as officially, 200 episodes of 15 queries a category"),
        ("test", 200, 5, "sampled as officially, 200 episodes of 5 queries a category"),
        ("train", 100, 15, "sampled as officially, 100 episodes of 15 queries a category"),
    ],
)
def test_only_the_official_numbers_are_called_official(make_mp100, part, episodes, queries, name):
    assert protocol_name(make_mp100(part), episodes, queries) == name


def test_one_is_one(make_mp100) -> None:
    assert protocol_name(make_mp100("test"), 1, 1) == "sampled as officially, 1 episode of 1 query a category"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"left_out": 3}, ", 3 instances left out"),
        ({"own": True}, ", a split that is not MP-100's"),
        (
            {"categories": (Category(66, "bee", "fly_body", PoseGraph(("a",), ())),)},
            ", categories that are not MP-100's",
        ),
        ({"categories": (Category(101, "fly", "fly", PoseGraph(("a",), ())),), "synthetic": True}, ""),
    ],
)
def test_only_a_whole_part_of_mp_100_is_official(make_mp100, change, said) -> None:
    part = make_mp100("test")
    assert protocol_name(part, 200, 15) == "official"
    whole = "sampled as officially, 200 episodes of 15 queries a category"
    assert protocol_name(replace(part, **change), 200, 15) == whole + said
    assert not is_official(replace(part, **change), 200, 15)


def test_the_hash_of_the_pairs_changes_with_any_of_them_and_with_the_truth(make_part) -> None:
    part = make_part({1: 20, 2: 25})

    def hashed(part: Part, shots: int = 1, episodes: int = 2, queries: int = 15) -> str:
        return pairs_hash(part, official_pairs(part, shots, episodes, queries))

    one = hashed(part)
    assert one == hashed(make_part({1: 20, 2: 25}))
    first, *rest = part.instances[1]
    others = [replace(first, id=5), replace(first, xy=first.xy + 1e-9), replace(first, visible=~first.visible)]
    changed = [replace(part, instances={**part.instances, 1: (other, *rest)}) for other in others]
    shorter = replace(part, categories=part.categories[:1])
    found = {one, hashed(part, shots=2), hashed(part, episodes=3), hashed(part, queries=3), hashed(shorter)}
    assert len(found | {hashed(other) for other in changed}) == 5 + 3
