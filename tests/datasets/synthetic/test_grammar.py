"""Procedural categories: valid graphs, all of the wanted size, and of many kinds."""

from __future__ import annotations

import numpy as np
import pytest

from capetune.datasets.synthetic.appendages import MAX_KEYPOINTS, MIN_KEYPOINTS
from capetune.datasets.synthetic.grammar import BODIES, shape
from capetune.datasets.synthetic.shapes import Shape


@pytest.fixture(scope="module")
def shapes() -> list[Shape]:
    return [shape(np.random.default_rng(i)) for i in range(400)]


def reached(adjacency: np.ndarray) -> int:
    """How many keypoints can be reached from the first."""
    seen = np.zeros(len(adjacency), dtype=bool)
    seen[0] = True
    for _ in range(len(adjacency)):
        seen |= adjacency[seen].any(axis=0)
    return int(seen.sum())


def test_keypoints_are_8_to_20_and_each_number_occurs(shapes: list[Shape]) -> None:
    assert {s.graph.size for s in shapes} == set(range(MIN_KEYPOINTS, MAX_KEYPOINTS + 1))


def test_graphs_are_connected_and_their_edges_valid(shapes: list[Shape]) -> None:
    for s in shapes:
        assert reached(s.graph.adjacency()) == s.graph.size
        assert list(s.graph.edges) == sorted(set(s.graph.edges))
        assert all(0 <= i < j < s.graph.size for i, j in s.graph.edges)


def test_names_of_a_category_differ(shapes: list[Shape]) -> None:
    for s in shapes:
        assert len(set(s.graph.names)) == s.graph.size


def test_trees_and_loops_and_all_bodies_occur(shapes: list[Shape]) -> None:
    loops = np.mean([len(s.graph.edges) >= s.graph.size for s in shapes])
    assert 0.2 < loops < 0.8
    assert {s.family for s in shapes} == {b.family for b in BODIES}


def test_hardly_two_categories_share_a_graph(shapes: list[Shape]) -> None:
    assert len({(s.graph.size, s.graph.edges) for s in shapes}) > 0.9 * len(shapes)


def test_only_shapes_with_two_unlike_directions_are_mirrored(shapes: list[Shape]) -> None:
    mirrors = {b.family: b.mirrors for b in BODIES}
    assert all((s.mirror > 0) == mirrors[s.family] for s in shapes)


def test_parents_come_before_children(shapes: list[Shape]) -> None:
    for s in shapes:
        assert s.parent[0] == -1
        assert (s.parent[1:] < np.arange(1, len(s.parent))).all()
        assert (s.parent[1:] >= 0).all()
