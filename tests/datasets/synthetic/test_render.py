"""Pictures: readable at the keypoints, the same for the same generator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from capetune.datasets.synthetic.generate import kind, scene
from capetune.datasets.synthetic.render import draw


def picture(category: int, image: int) -> np.ndarray:
    one = kind(0, category)
    placed, rng = scene(one, 0, image, 128)
    return draw(one.shape, one.look, placed, rng)


def test_a_picture_is_rgb_bytes_of_the_scenes_size() -> None:
    one = kind(0, 0)
    placed, rng = scene(one, 0, 0, 128)
    pixels = draw(one.shape, one.look, placed, rng)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (placed.image_size[1], placed.image_size[0], 3)
    assert np.array_equal(pixels, picture(0, 0))


def test_the_object_stands_where_its_keypoints_are() -> None:
    """Drawn with and without its parts and marks, a scene differs at its seen keypoints and not far from them."""
    changed, untouched = [], []
    for category in range(10):
        one = kind(0, category)
        placed, rng = scene(one, 0, 0, 128)
        bare = replace(one.shape, parts=(), keypoints=one.shape.keypoints[:0])
        full = draw(one.shape, one.look, placed, rng).astype(int)
        empty = draw(bare, one.look, placed, scene(one, 0, 0, 128)[1]).astype(int)
        difference = np.abs(full - empty).max(axis=2)
        x, y = np.rint(placed.xy[placed.visibility == 2]).astype(int).T
        changed.append((difference[y, x] > 20).mean())
        outside = np.ones(difference.shape, dtype=bool)
        left, top, wide, high = placed.box.astype(int)
        outside[max(top - 4, 0) : top + high + 6, max(left - 4, 0) : left + wide + 6] = False
        untouched.append((difference[outside] == 0).mean())
    assert np.mean(changed) > 0.95
    assert np.mean(untouched) > 0.99
