from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from capetune.datasets.episodes.templates import mean_template, normalise, place
from capetune.pose import Instance

COORDINATES = st.floats(-1e6, 1e6)


def instance(box, xy, visible=None):
    xy = np.array(xy, dtype=np.float64)
    shown = np.ones(len(xy), dtype=bool) if visible is None else np.array(visible)
    return Instance(1, 1, 2, "a/b.jpg", (640, 480), np.array(box, dtype=np.float64), xy, shown)


@st.composite
def supports(draw):
    shots, size = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    xy = draw(arrays.arrays(np.float64, (shots, size, 2), elements=COORDINATES))
    return xy, draw(arrays.arrays(bool, (shots, size)))


def test_normalise_takes_each_axis_by_its_own_side():
    pose = normalise(instance((10, 20, 40, 80), [(10, 20), (50, 100), (30, 40), (90, 20)]))
    assert pose.tolist() == [[0, 0], [1, 1], [0.5, 0.25], [2, 0]]


@given(
    st.tuples(*[st.floats(-1e3, 1e3)] * 2, *[st.floats(0.1, 1e3)] * 2),
    arrays.arrays(np.float64, (3, 2), elements=st.floats(-1e3, 1e3)),
)
def test_placing_in_the_own_box_gives_the_pose_back(box, xy):
    one = instance(box, xy)
    np.testing.assert_allclose(place(normalise(one), one.box), xy, atol=1e-9)


def test_a_keypoint_is_averaged_over_the_supports_that_show_it():
    xy = np.array([[[0.0, 0.0], [0.2, 0.4], [9, 9]], [[1.0, 0.5], [7, 7], [9, 9]]])
    visible = np.array([[True, True, False], [True, False, False]])
    template, known = mean_template(xy, visible)
    assert template.tolist() == [[0.5, 0.25], [0.2, 0.4], [0.5, 0.5]]
    assert known.tolist() == [True, True, False]


@given(supports())
def test_what_is_invisible_is_never_looked_at(drawn):
    xy, visible = drawn
    hidden = np.where(visible[..., None], xy, np.nan)
    template, known = mean_template(hidden, visible)
    np.testing.assert_array_equal(template, mean_template(xy, visible)[0])
    assert np.isfinite(template).all()
    assert (template[~known] == 0.5).all()
    assert (known == visible.any(axis=0)).all()


@given(supports())
def test_the_mean_stays_between_the_supports(drawn):
    xy, visible = drawn
    template, known = mean_template(xy, visible)
    low = np.where(visible[..., None], xy, np.inf).min(axis=0)
    high = np.where(visible[..., None], xy, -np.inf).max(axis=0)
    assert (template[known] >= low[known] - 1e-6).all()
    assert (template[known] <= high[known] + 1e-6).all()


@given(supports(), st.randoms())
def test_the_order_of_the_supports_does_not_matter(drawn, random):
    xy, visible = drawn
    order = list(range(len(xy)))
    random.shuffle(order)
    np.testing.assert_allclose(mean_template(xy[order], visible[order])[0], mean_template(xy, visible)[0], atol=1e-6)


def test_many_pairs_at_once_equal_one_after_the_other():
    random = np.random.default_rng(0)
    xy, visible = random.random((7, 3, 5, 2)), random.random((7, 3, 5)) < 0.5
    templates, known = mean_template(xy, visible)
    for n in range(7):
        one, shown = mean_template(xy[n], visible[n])
        np.testing.assert_array_equal(templates[n], one)
        np.testing.assert_array_equal(known[n], shown)
