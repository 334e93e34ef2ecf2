from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capetune.errors import UserError
from capetune.pose import Instance
from capetune.prediction.template import FARTHEST, Template

PLACE = st.floats(-FARTHEST, FARTHEST)


@st.composite
def templates(draw) -> Template:
    count = draw(st.integers(1, 6))
    xy = np.array(draw(st.lists(st.tuples(PLACE, PLACE), min_size=count, max_size=count)))
    xy[draw(st.integers(1, count)) :] = np.nan
    number = st.integers(0, count - 1)
    edges = draw(st.lists(st.tuples(number, number).filter(lambda pair: pair[0] != pair[1]), max_size=5))
    names = draw(st.lists(st.text(st.characters(codec="utf-8")), min_size=count, max_size=count))
    return Template.of(xy, edges, names, draw(st.text(st.characters(codec="utf-8"))))


@settings(deadline=None)
@given(templates())
def test_written_and_read_it_is_the_same(tmp_path_factory, template):
    file = tmp_path_factory.getbasetemp() / "template.json"
    template.write(file)
    again = Template.read(file)
    assert again.to_json() == template.to_json()
    assert again.graph == template.graph
    np.testing.assert_array_equal(again.xy, template.xy)
    np.testing.assert_array_equal(again.known, template.known)


def test_edges_stand_once_the_smaller_number_first():
    assert Template.of([[0, 0], [1, 1]], [(1, 0), (0, 1)]).graph.edges == ((0, 1),)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (([[1, 2, 3]],), "of shape (K, 2), not (1, 3)"),
        (([],), "of shape (K, 2)"),
        ((["ab"],), "pairs of numbers"),
        (([[0, 0], [1, 1]], [(0, 2)]), "edge 0-2 isn't between two of the keypoints 0 to 1"),
        (([[0, 0], [1, 1]], [(1, 1)]), "edge 1-1 isn't between two"),
        (([[0, 0], [1, 1]], [], ["a"]), "2 keypoints has 1 names"),
        (([[np.nan, 0]],), "the place of one keypoint at least"),
        (([[120.0, 80.0]],), "are they pixels? Divide by the box first"),
        (([[np.inf, 0.0]],), "far outside"),
    ],
)
def test_what_is_no_template_is_named_with_its_cure(arguments, line):
    with pytest.raises(UserError) as raised:
        Template.of(*arguments)
    assert line in str(raised.value)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"format": "other"}, "is odd: format should be 'capetune-template': no template; `capetune template make`"),
        ({"xy": [[0, 0], [1]]}, "is odd: xy.1"),
        ({"xy": [[0, 0]]}, "1 keypoints has 2 names"),
        ({"xy": [[0, 0], [1, "1"]]}, "is odd: xy.1.1"),
        ({"edges": [[0, 2]]}, "edge 0-2"),
        ({"edges": [[0, -1]]}, "is odd: edges.0.1"),
        ({"schema": 2}, "is odd: schema"),
    ],
)
def test_a_file_that_is_odd_is_named(tmp_path, change, line):
    tree = Template.of([[0, 0], [1, 1]], [(0, 1)]).to_json() | change
    (tmp_path / "odd.json").write_text(json.dumps(tree))
    with pytest.raises(UserError) as raised:
        Template.read(tmp_path / "odd.json")
    assert str(raised.value).startswith(str(tmp_path / "odd.json"))
    assert line in str(raised.value)


def test_a_file_that_is_cut_or_not_there_is_named(tmp_path):
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(
        UserError, match=r"other\.json is odd: format is missing: no template; `capetune template make`"
    ):
        Template.read(tmp_path / "other.json")
    (tmp_path / "cut.json").write_text('{"format": ')
    with pytest.raises(UserError, match="is cut or no JSON"):
        Template.read(tmp_path / "cut.json")
    with pytest.raises(UserError, match="there is no such template; `capetune template make` writes one"):
        Template.read(tmp_path / "none.json")


def instance(*xy: tuple[float, float], visible: list[bool] | None = None) -> Instance:
    points = np.array(xy, dtype=float)
    seen = np.ones(len(points), dtype=bool) if visible is None else np.array(visible)
    return Instance(1, 1, 1, "a.jpg", (100, 100), np.array([0.0, 0.0, 100.0, 50.0]), points, seen)


def test_it_is_the_mean_over_those_that_show_a_keypoint(make_graph):
    both = [instance((20, 10), (80, 40)), instance((40, 20), (0, 0), visible=[True, False])]
    template = Template.of_instances("thing", make_graph(2), both, "two")
    np.testing.assert_allclose(template.xy, [[0.3, 0.3], [0.8, 0.8]])
    blind = [instance((20, 10), (1, 1), visible=[True, False])]
    assert Template.of_instances("thing", make_graph(2), blind, "one").known.tolist() == [True, False]
    with pytest.raises(UserError, match="none: no keypoint is visible"):
        Template.of_instances("thing", make_graph(1), [instance((1, 1), visible=[False])], "none")


def test_a_mean_of_poses_that_lie_in_opposite_ways_has_shrunk(make_graph):
    one, other = instance((20, 10), (80, 40)), instance((80, 40), (20, 10))
    alike = Template.of_instances("thing", make_graph(2), [one, one], "alike")
    opposite = Template.of_instances("thing", make_graph(2), [one, other], "opposite")
    assert alike.shrunk([one, one]) == pytest.approx(1)
    assert opposite.shrunk([one, other]) == pytest.approx(0, abs=1e-6)
