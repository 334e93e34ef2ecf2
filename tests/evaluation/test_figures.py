from __future__ import annotations

import numpy as np
import pytest

from capetune.evaluation.figures import Figures, auc, epe, nme
from capetune.evaluation.report import Scores


def as_mmpose(pred, truth, visible, side):
    """mmpose 0.29's three functions written out for each pair, as PoseAnything and EdgeCape call them."""
    rows = []
    for n in range(len(pred)):
        errors = [float(np.hypot(*(pred[n, k] - truth[n, k]))) for k in range(pred.shape[1]) if visible[n, k]]
        area = sum(np.mean([e / side[n] < i / 20 for e in errors]) / 20 if errors else 0 for i in range(20))
        many = max(1, len(errors))
        rows.append((area, sum(e / side[n] for e in errors) / many, sum(errors) / many))
    return np.array(rows).T


def test_they_are_what_the_newer_repositories_report():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 100, (50, 6, 2))
    pred, visible, side = truth + rng.normal(0, 20, truth.shape), rng.random((50, 6)) < 0.6, rng.uniform(20, 90, 50)
    area, normalised, pixels = as_mmpose(pred, truth, visible, side)
    np.testing.assert_allclose(auc(pred, truth, visible, side), area)
    np.testing.assert_allclose(nme(pred, truth, visible, side), normalised)
    np.testing.assert_allclose(epe(pred, truth, visible), pixels)


def test_by_hand():
    """A keypoint 10 of 100 px off is right from .15 on: 17 of 20 steps; another 30 px off from .35 on: 13 of 20."""
    truth = np.zeros((1, 2, 2))
    pred = np.array([[[6.0, 8.0], [0.0, 30.0]]])
    both, side = np.ones((1, 2), bool), np.array([100.0])
    assert auc(pred, truth, both, side) == pytest.approx([(17 + 13) / 40])
    assert nme(pred, truth, both, side) == pytest.approx([0.2])
    assert epe(pred, truth, both) == pytest.approx([20])


def test_what_is_invisible_may_be_anything_and_nothing_visible_is_zero():
    truth, side = np.zeros((2, 2, 2)), np.array([10.0, 10.0])
    pred = np.array([[[3.0, 4.0], [np.nan, 1.0]], [[1.0, 1.0], [1.0, 1.0]]])
    visible = np.array([[True, False], [False, False]])
    assert epe(pred, truth, visible).tolist() == [5, 0]
    assert nme(pred, truth, visible, side).tolist() == [0.5, 0]
    assert auc(pred, truth, visible, side).tolist() == [9 / 20, 0]  # from .55 on


def test_the_score_of_several_groups_is_the_mean_over_their_pairs():
    rng = np.random.default_rng(1)
    truth, side = rng.uniform(0, 9, (5, 3, 2)), np.full(5, 10.0)
    pred, visible = truth + rng.normal(0, 2, truth.shape), np.ones((5, 3), bool)
    one = Scores.of(Figures.of(pred, truth, visible, side))
    cut = [Figures.of(pred[s], truth[s], visible[s], side[s]) for s in (slice(2), slice(2, 5))]
    assert Scores.of(Figures.joined(cut)) == one
    assert {"auc", "nme", "epe", "mpck4"} <= one.to_json().keys()
