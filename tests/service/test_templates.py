from __future__ import annotations

import numpy as np
import pytest

import capetune
from capetune.datasets.episodes.templates import mean_template, normalise
from capetune.datasets.mp100.files import read_part
from capetune.errors import UserError
from capetune.events import Doubted
from capetune.service.templates import TemplateRequest, made


@pytest.fixture(scope="module")
def labels(tiny_root):
    return tiny_root / "annotations/mp100_split1_test.json"


def test_of_labels_it_is_what_an_evaluation_shows_of_the_same_supports(labels):
    part = read_part(labels, 1, "test")
    category = part.categories[1]
    group = part.instances[category.id][:3]
    template = made(TemplateRequest.of(coco=labels, category=category.name, shots=3))
    xy, known = mean_template(np.stack([normalise(i) for i in group]), np.stack([i.visible for i in group]))
    np.testing.assert_array_equal(template.xy, xy)
    np.testing.assert_array_equal(template.known, known)
    assert template.graph == category.graph
    assert template.made_of == f"3 instances of {category.name} in {labels.name}"
    assert made(TemplateRequest.of(coco=labels, category=str(category.id))).made_of.startswith("5 instances")


def test_a_pack_and_its_labels_give_the_same(labels, tiny_pack):
    asked = {"category": "tiny87", "shots": 2}
    ours, theirs = (
        made(TemplateRequest.of(coco=labels, **asked)),
        made(TemplateRequest.of(data=str(tiny_pack), **asked)),
    )
    np.testing.assert_allclose(ours.xy, theirs.xy)
    assert ours.graph == theirs.graph


def test_points_lie_in_the_box_that_is_given_or_the_smallest_around_them():
    words = {"points": "10,20 30,20 20,60", "edges": "0-1 2-1", "names": "a,b,c", "category": "kite"}
    template = capetune.template(**words)
    np.testing.assert_allclose(template.xy, [[0, 0], [1, 0], [0.5, 1]])
    assert template.graph.names == ("a", "b", "c")
    assert template.graph.edges == ((0, 1), (1, 2))
    boxed = capetune.template(points=[(10, 20), (30, 20)], box=(0, 0, 40, 80))
    np.testing.assert_allclose(boxed.xy, [[0.25, 0.25], [0.75, 0.25]])


def test_a_mean_that_has_shrunk_is_doubted_once(real_images):
    """Flies lie in all directions."""
    heard: list = []
    file = real_images / "annotations/mp100_split1_test.json"
    made(TemplateRequest.of(coco=file, category="fly", shots=60), heard.append)
    [doubt] = [event for event in heard if isinstance(event, Doubted)]
    assert "60 instances of fly" in doubt.why
    assert doubt.why.endswith("give --shots 1")
    heard.clear()
    made(TemplateRequest.of(coco=file, category="fly", shots=1), heard.append)
    assert not heard


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({}, "made of one of --coco FILE, --data PACK and --points, not of none"),
        ({"points": "1,2 3,4", "data": "x"}, "not of --data and --points"),
        ({"points": "1,2,3"}, "--points: wanted is x,y of each keypoint"),
        ({"points": "1,nan 2,3"}, "--points"),
        ({"points": "1,2 3,x"}, "--points: wanted is x,y"),
        ({"points": "1,2 3,2"}, "the box of the points has no width or no height"),
        ({"points": "1,2 3,4", "shots": 2}, "points are one"),
        ({"points": "1,2 3,4", "edges": "0-2"}, "edge 0-2 isn't between two"),
        ({"points": "1,2 3,4", "edges": "0.5-1"}, "--edges"),
        ({"points": "1,2 3,4", "names": "a"}, "2 keypoints has 1 names"),
        ({"points": "1,2 3,4", "box": "1,2,3"}, "--box: wanted is x,y,width,height"),
        ({"points": "1000,2 3,4", "box": "0,0,1,1"}, "are they pixels?"),
        ({"data": "x", "edges": "0-1"}, "--edges, --names and --box belong to --points"),
        ({"file": "x", "category": "fly"}, "a template's file has none"),
        ({"coco": "none.json"}, "none.json does not exist"),
    ],
)
def test_what_makes_no_template_is_one_line(asked, line):
    with pytest.raises(UserError) as raised:
        made(TemplateRequest.of(**asked))
    assert line in str(raised.value)


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({}, "has tiny87 (87), tiny88 (88): say which one with --category"),
        ({"category": "tiny8"}, "has no category 'tiny8'; the nearest is 'tiny8"),
        ({"category": "tiny87", "shots": 99}, "has 20 instances of 'tiny87', not 99"),
    ],
)
def test_a_category_that_isn_t_there_is_named(labels, asked, line):
    with pytest.raises(UserError) as raised:
        made(TemplateRequest.of(coco=labels, **asked))
    assert line in str(raised.value)
