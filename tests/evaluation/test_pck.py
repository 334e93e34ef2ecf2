from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from capetune.evaluation.pck import THRESHOLDS, mpck4, mpck5, pck, pck_curve


@st.composite
def cases(draw):
    pairs, size = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    points = arrays.arrays(np.float64, (pairs, size, 2), elements=st.floats(-1e5, 1e5))
    visible = draw(arrays.arrays(bool, (pairs, size)))
    side = draw(arrays.arrays(np.float64, (pairs,), elements=st.floats(1e-3, 1e4)))
    return draw(points), draw(points), visible, side


@pytest.mark.parametrize("twentieths", range(1, 6))
@given(unit=st.integers(1, 10_000))
def test_a_keypoint_exactly_at_the_threshold_is_wrong(twentieths, unit):
    pred = np.array([[[twentieths * unit, 0.0]]])
    side, threshold = np.array([20.0 * unit]), THRESHOLDS[twentieths - 1]
    shown = np.ones((1, 1), bool)
    assert pck(pred, np.zeros_like(pred), shown, side, threshold) == 0
    assert pck(pred * (1 - 1e-12), np.zeros_like(pred), shown, side, threshold) == 1


def test_only_visible_keypoints_count():
    truth = np.zeros((2, 3, 2))
    pred = np.array([[[0, 0], [50, 0], [0, 0]], [[0, 0], [0, 0], [0, 0]]], dtype=float)
    visible = np.array([[True, True, False], [False, False, False]])
    assert pck(pred, truth, visible, np.array([100.0, 100.0]), 0.2).tolist() == [0.5, 0.0]


def test_the_normaliser_is_the_pair_s_own_side():
    pred = np.full((2, 1, 2), 3.0)
    truth = pred + np.array([6.0, 8.0])
    assert pck(pred, truth, np.ones((2, 1), bool), np.array([49.0, 51.0]), 0.2).tolist() == [0, 1]


@given(cases())
def test_shares_are_shares_and_grow_with_the_threshold(case):
    curve = pck_curve(*case)
    assert curve.shape == (len(case[0]), 5)
    assert ((curve >= 0) & (curve <= 1)).all()
    assert (np.diff(curve, axis=1) >= 0).all()
    for n, threshold in enumerate(THRESHOLDS):
        np.testing.assert_array_equal(curve[:, n], pck(*case, threshold))


@given(cases())
def test_the_truth_scores_one_and_nothing_visible_scores_zero(case):
    _, truth, visible, side = case
    np.testing.assert_array_equal(pck(truth, truth, visible, side, 0.05), visible.any(axis=1))


@given(cases())
def test_what_is_invisible_may_be_anything(case):
    pred, truth, visible, side = case
    hidden = np.where(visible[..., None], pred, np.nan)
    np.testing.assert_array_equal(pck_curve(hidden, truth, visible, side), pck_curve(*case))


@given(cases())
def test_shares_agree_with_the_definition_written_out(case):
    pred, truth, visible, side = case
    for n in range(len(pred)):
        hits = [
            float(np.hypot(*(pred[n, k] - truth[n, k]))) / side[n] < 0.15 for k in range(pred.shape[1]) if visible[n, k]
        ]
        assert pck(*case, 0.15)[n] == pytest.approx(sum(hits) / len(hits) if hits else 0)


def test_a_missing_prediction_is_an_error_not_a_shorter_comparison():
    with pytest.raises(AssertionError, match="never trimmed"):
        pck(np.zeros((1, 2, 2)), np.zeros((1, 3, 2)), np.ones((1, 3), bool), np.ones(1), 0.2)


def test_the_two_means_differ_by_the_last_threshold():
    curve = np.array([[0.1, 0.2, 0.3, 0.4, 0.9]])
    assert mpck4(curve) == pytest.approx([0.25])
    assert mpck5(curve) == pytest.approx([0.38])
