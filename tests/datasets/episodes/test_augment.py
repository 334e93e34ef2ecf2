import numpy as np

from capetune.config import DataConfig
from capetune.datasets.episodes.augment import Augmentation, draw


def many(config, flippable=True, count=2000):
    rng = np.random.default_rng(0)
    return [draw(rng, config, flippable) for _ in range(count)]


def test_draws_fill_their_range():
    drawn = many(DataConfig(rotation=10, scale=0.2))
    rotations, scales = [a.rotation for a in drawn], [a.scale for a in drawn]
    assert -10 <= min(rotations) < -9.5
    assert 9.5 < max(rotations) <= 10
    assert 0.8 <= min(scales) < 0.82
    assert 1.18 < max(scales) <= 1.2
    assert not any(a.flip for a in drawn)


def test_nothing_asked_is_the_official_crop():
    assert set(many(DataConfig(rotation=0, scale=0), count=5)) == {Augmentation()}


def test_the_share_asked_for_is_mirrored_where_names_tell():
    assert abs(np.mean([a.flip for a in many(DataConfig(flip=0.3))]) - 0.3) < 0.03
    assert not any(a.flip for a in many(DataConfig(flip=1.0), flippable=False))


def test_asking_for_mirrors_changes_no_other_draw_of_the_first_crop():
    plain, mirrored = (draw(np.random.default_rng(3), DataConfig(flip=flip), True) for flip in (0.0, 1.0))
    assert (plain.rotation, plain.scale) == (mirrored.rotation, mirrored.scale)
