import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from capetune.evaluation.failures import KINDS, Failures, kinds
from capetune.evaluation.pck import pck

TRUTH = np.array([[[10.0, 10.0], [90.0, 10.0], [10.0, 90.0], [90.0, 90.0], [50.0, 50.0]]])
TEMPLATE = TRUTH + np.array([0.0, 30.0])
MIRROR = (1, 0, 3, 2, 4)  # the first two are a left and a right, so are the next two
SIDE = np.array([100.0])
ALL = np.ones((1, 5), bool)


def named(pred, visible=ALL, mirror=MIRROR, template=TEMPLATE):
    found = kinds(pred, TRUTH, template, visible, SIDE, mirror)
    return [KINDS[number] if number >= 0 else "" for number in found[0]]


def moved(*points):
    """The truth, but for (keypoint, x, y)."""
    pred = TRUTH.copy()
    for k, *xy in points:
        pred[0, k] = xy
    return pred


def test_what_is_near_enough_is_not_missed():
    assert named(TRUTH) == [""] * 5
    assert named(moved((0, 10, 19.9))) == [""] * 5
    assert named(moved((0, 10, 20))) == ["near", "", "", "", ""]  # as strict as PCK@.1


def test_a_left_and_a_right_that_changed_places_are_exchanged():
    assert named(moved((0, 90, 10), (1, 10, 10))) == ["exchanged", "exchanged", "", "", ""]
    assert named(moved((0, 85, 14))) == ["exchanged", "", "", "", ""]


def test_where_names_tell_no_sides_they_are_far_off():
    assert named(moved((0, 90, 10), (1, 10, 10)), mirror=None) == ["far", "far", "", "", ""]


def test_a_counterpart_that_is_not_seen_has_no_place_to_exchange():
    hidden = np.array([[True, False, True, True, True]])
    assert named(moved((0, 90, 10)), visible=hidden) == ["far", "", "", "", ""]


def test_another_keypoint_s_place_is_no_exchange():
    assert named(moved((0, 10, 90))) == ["far", "", "", "", ""]


def test_a_copied_template_is_told_from_other_misses():
    assert named(TEMPLATE) == ["copied"] * 5
    assert named(TEMPLATE + np.array([4.0, 0.0])) == ["copied"] * 5
    assert named(TEMPLATE + np.array([6.0, 0.0])) == ["far"] * 5
    assert named(TRUTH, template=TRUTH) == [""] * 5  # a right template is no failure


def test_a_heap_in_the_middle_is_collapsed_wherever_the_template_is():
    heap = 50 + (TRUTH - 50) * 0.3
    assert named(heap) == ["collapsed"] * 4 + [""]  # the middle is where it should be
    assert named(heap, template=heap) == ["collapsed"] * 4 + [""]
    assert named(50 + (TRUTH - 50) * 0.5) == ["near"] * 4 + [""]


def test_one_keypoint_that_counts_is_no_heap():
    only = np.array([[True, False, False, False, False]])
    assert named(moved((0, 60, 60)), visible=only) == ["far", "", "", "", ""]


def test_far_begins_at_three_tenths():
    assert named(moved((4, 50, 79.9)), template=TRUTH)[4] == "near"
    assert named(moved((4, 50, 80)), template=TRUTH)[4] == "far"


def test_what_does_not_count_may_be_anything():
    hidden = np.array([[True, True, True, True, False]])
    truth = TRUTH.copy()
    truth[0, 4] = np.nan
    found = kinds(TRUTH, truth, TEMPLATE, hidden, SIDE, MIRROR)
    assert (found == -1).all()


POSES = arrays.arrays(np.float64, (3, 3, 5, 2), elements=st.floats(-200, 300))


@given(POSES, arrays.arrays(np.bool_, (3, 5)), st.sampled_from([None, MIRROR]))
def test_kinds_add_up_to_what_pck_misses(poses, visible, mirror):
    pred, truth, template = poses
    side = np.array([100.0, 50.0, 7.0])
    found = kinds(pred, truth, template, visible, side, mirror)
    missed = (found >= 0).sum(axis=1)
    counting = visible.sum(axis=1)
    assert ((found >= 0) <= visible).all()
    share = 1 - pck(pred, truth, visible, side, 0.1)
    np.testing.assert_allclose(missed, np.where(counting > 0, share * counting, 0))
    failures = Failures.of(found, template, truth, visible, side)
    assert sum(failures.kinds) == failures.missed == missed.sum()
    assert failures.keypoints == counting.sum()


def test_failures_of_categories_are_added_up():
    parts = [Failures(10, 4, 5, (1, 0, 2, 0, 1)), Failures(20, 3, 9, (0, 3, 0, 0, 0))]
    joined = Failures.joined(parts)
    assert joined == Failures(30, 7, 14, (1, 3, 2, 0, 1))
    assert joined.to_json()["kinds"] == {"collapsed": 1, "copied": 3, "exchanged": 2, "far": 0, "near": 1}
    assert joined.to_json()["template_missed"] == 14
