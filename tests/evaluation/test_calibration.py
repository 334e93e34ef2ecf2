from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capetune.evaluation.calibration import fitted, reliability


def chance(scores: np.ndarray, slope: float, offset: float) -> np.ndarray:
    return 1 / (1 + np.exp(-(slope * np.log(scores / (1 - scores)) + offset)))


def drawn(slope: float, offset: float, count: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    scores = rng.uniform(0.05, 0.6, count)
    return scores, rng.random(count) < chance(scores, slope, offset)


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (2.5, 3.0), (0.4, -1.0)])
def test_it_finds_what_the_hits_were_drawn_by(slope, offset):
    scores, hits = drawn(slope, offset)
    assert fitted(scores, hits) == pytest.approx((slope, offset), abs=0.1)


def test_scores_that_were_too_low_are_reliable_on_others_afterwards():
    scores, hits = drawn(2.5, 3.0)
    half = len(scores) // 2
    found = fitted(scores[:half], hits[:half])
    assert reliability(scores[half:], hits[half:])[1] > 0.3
    assert reliability(chance(scores[half:], *found), hits[half:])[1] < 0.02


def test_of_nothing_scores_stay_as_they_are():
    assert fitted(np.empty(0), np.empty(0)) == (1.0, 0.0)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(1e-6, 1 - 1e-6), st.booleans()), min_size=1, max_size=30))
def test_few_keypoints_that_all_hit_or_miss_make_no_score_certain(pairs):
    scores, hits = (np.array(each) for each in zip(*pairs, strict=True))
    slope, offset = fitted(scores, hits)
    assert np.isfinite((slope, offset)).all()
    assert abs(slope) < 20
    middle = chance(np.array([0.5]), slope, offset)[0]
    assert 1e-4 < middle < 1 - 1e-4


def test_bins_hold_every_keypoint_and_their_distance_is_the_error():
    scores, hits = np.array([0.1, 0.15, 0.15, 0.95, 1.0]), np.array([0, 1, 0, 1, 1])
    rows, error = reliability(scores, hits)
    assert [(low, count) for low, count, _, _ in rows] == [(0.1, 3), (0.9, 2)]
    assert [hit for *_, hit in rows] == pytest.approx([1 / 3, 1.0])
    assert error == pytest.approx((3 * abs(0.4 / 3 - 1 / 3) + 2 * abs(0.975 - 1)) / 5)
