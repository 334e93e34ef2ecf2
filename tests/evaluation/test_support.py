from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capetune.datasets.episodes.templates import normalise
from capetune.datasets.packs.reader import open_pack
from capetune.evaluation.support import ablations, own
from capetune.pose import Part


@pytest.fixture(scope="module")
def part(tiny_pack: Path) -> Part:
    return open_pack(tiny_pack).part(1, "train")


@pytest.fixture(scope="module")
def supports() -> np.ndarray:
    return np.array([[0, 3], [5, 1], [7, 2]])


def show(part: Part, name: str, supports: np.ndarray, place: int = 0) -> tuple:
    category = part.categories[place]
    source = own if name == "own" else ablations(part)[name]
    return source(category, part.instances[category.id], supports)[:3]


@pytest.mark.parametrize("name", ["own", "noise", "shuffled", "other"])
def test_every_support_has_the_categorys_shape_and_repeats(part: Part, supports: np.ndarray, name: str) -> None:
    for place, category in enumerate(part.categories):
        template, known, adjacency = show(part, name, supports, place)
        k = category.graph.size
        assert (template.shape, known.shape, adjacency.shape) == ((3, k, 2), (3, k), (k, k))
        assert np.isfinite(template).all()
        assert known.dtype == adjacency.dtype == bool
        assert np.array_equal(template, show(part, name, supports, place)[0])


def test_noise_is_all_over_the_box_and_keeps_the_graph(part: Part, supports: np.ndarray) -> None:
    template, known, adjacency = show(part, "noise", supports)
    assert 0 <= template.min() < 0.2
    assert 0.8 < template.max() <= 1
    assert known.all()
    assert np.array_equal(adjacency, part.categories[0].graph.adjacency())
    assert not np.array_equal(template, show(part, "noise", supports, 1)[0])


def test_shuffled_has_the_same_places_for_other_keypoints(part: Part, supports: np.ndarray) -> None:
    template, known, adjacency = show(part, "own", supports)
    shuffled, seen, graph = show(part, "shuffled", supports)
    assert not np.array_equal(shuffled, template)
    for pair in range(3):
        assert sorted(shuffled[pair].tolist()) == sorted(template[pair].tolist())
        assert seen[pair].sum() == known[pair].sum()
    assert np.array_equal(graph, adjacency)


def test_a_single_category_has_no_other(part: Part) -> None:
    """Its own template would be called another category's, and the score wouldn't fall."""
    single = replace(part, categories=part.categories[:1])
    assert set(ablations(part)) == {"noise", "shuffled", "other"}
    assert set(ablations(single)) == {"noise", "shuffled"}


def test_a_model_that_looks_is_shown_the_images_of_the_wrong_support_too(part: Part, supports: np.ndarray) -> None:
    category, group = part.categories[0], part.instances[part.categories[0].id]
    following = part.instances[part.categories[1].id]
    sources = {"own": own, **ablations(part, looks=True)}
    shown = {name: source(category, group, supports) for name, source in sources.items()}
    ids = {name: [each.id for each in of.looked_at.instances] for name, of in shown.items()}
    assert ids["own"] == ids["noise"] == ids["shuffled"] == [each.id for each in group]
    assert ids["other"] == ids["other images"] == [each.id for each in following]
    assert np.array_equal(shown["other images"].template, shown["own"].template)
    for name in ("other", "other images"):
        assert shown[name].looked_at.order.max() < part.categories[1].graph.size
    assert not np.array_equal(shown["noise"].looked_at.instances[0].xy, group[0].xy)
    normal = np.stack([normalise(each) for each in group])[supports[:, 0]]
    moved = np.take_along_axis(normal, shown["shuffled"].looked_at.order[..., None], 1)
    one = ablations(part)["shuffled"](category, group, supports[:, :1])
    assert np.allclose(one.template[one.known], moved[one.known])


def test_other_is_the_next_categorys(part: Part, supports: np.ndarray) -> None:
    for place, category in enumerate(part.categories):
        template, _, adjacency = show(part, "other", supports, place)
        wanted = show(part, "own", supports, (place + 1) % len(part.categories))
        k = min(category.graph.size, wanted[0].shape[1])
        assert np.array_equal(template[:, :k], wanted[0][:, :k])
        assert np.array_equal(adjacency[:k, :k], wanted[2][:k, :k])
