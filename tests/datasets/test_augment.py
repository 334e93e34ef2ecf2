import numpy as np
import pytest

from capetune.datasets.augment import Augmentation, draw


def test_draws_fill_the_ranges_and_stay_in_them():
    rng = np.random.default_rng(0)
    drawn = [draw(rng, 15, 0.15) for _ in range(2000)]
    rotations, scales = np.array([d.rotation for d in drawn]), np.array([d.scale for d in drawn])
    assert (rotations.min(), rotations.max()) == pytest.approx((-15, 15), abs=0.2)
    assert (scales.min(), scales.max()) == pytest.approx((0.85, 1.15), abs=0.01)
    assert abs(np.corrcoef(rotations, scales)[0, 1]) < 0.1


def test_zero_ranges_draw_nothing():
    assert draw(np.random.default_rng(0), 0, 0) == Augmentation() == Augmentation(0.0, 1.0)


def test_a_seed_repeats():
    assert draw(np.random.default_rng(3), 15, 0.1) == draw(np.random.default_rng(3), 15, 0.1)
