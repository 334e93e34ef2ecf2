"""Scenes: keypoints in the image and the box, visibility as promised."""

from __future__ import annotations

import numpy as np
import pytest

from capetune.datasets.synthetic.generate import kind, scene
from capetune.datasets.synthetic.pose import MIN_VISIBLE, Scene, _covers
from capetune.datasets.synthetic.shapes import Shape


@pytest.fixture(scope="module")
def scenes() -> list[tuple[Shape, Scene]]:
    kinds = [kind(0, index) for index in range(40)]
    return [(one.shape, scene(one, 0, image, 160)[0]) for one in kinds for image in range(10)]


def test_the_longer_side_of_the_image_is_as_asked(scenes: list[tuple[Shape, Scene]]) -> None:
    assert {max(s.image_size) for _, s in scenes} == {160}


def test_labelled_keypoints_lie_in_the_image_and_the_box(scenes: list[tuple[Shape, Scene]]) -> None:
    for _, s in scenes:
        xy = s.xy[s.visibility > 0]
        assert (xy >= 0).all()
        assert (xy <= np.array(s.image_size) - 1).all()
        assert (xy >= s.box[:2]).all()
        assert (xy <= s.box[:2] + s.box[2:]).all()


def test_the_box_fits_the_object(scenes: list[tuple[Shape, Scene]]) -> None:
    """Nearest keypoint to each side of the box, in longer sides: flesh, a small margin, or what an occluder hides."""
    gaps = []
    for shape, s in scenes:
        points = s.joints[shape.keypoints]
        gaps.append(
            max(*(points.min(axis=0) - s.box[:2]), *(s.box[:2] + s.box[2:] - points.max(axis=0))) / max(s.box[2:])
        )
    assert np.median(gaps) < 0.1
    assert np.quantile(gaps, 0.98) < 0.25


def test_visibility_is_what_its_number_says(scenes: list[tuple[Shape, Scene]]) -> None:
    values = np.concatenate([s.visibility for _, s in scenes])
    assert 0.01 < (values == 1).mean() < 0.1
    assert 0.01 < (values == 0).mean() < 0.12
    for shape, s in scenes:
        assert (s.visibility > 0).sum() >= MIN_VISIBLE
        assert (s.xy[s.visibility == 0] == 0).all()
        points = s.joints[shape.keypoints]
        hidden = np.zeros(len(points), dtype=bool)
        for polygon in s.occluders:
            hidden |= _covers(polygon, points)
        assert not (hidden & (s.visibility == 2)).any()
        assert hidden[s.visibility == 1].all()


def test_covers_is_inside_a_polygon() -> None:
    square = np.array([[0.0, 0], [4, 0], [4, 4], [0, 4]])
    assert _covers(square, np.array([[2.0, 2], [5, 2], [-1, 2], [2, 5]])).tolist() == [True, False, False, False]


def test_images_of_a_category_differ_and_repeat(scenes: list[tuple[Shape, Scene]]) -> None:
    one = kind(0, 5)
    first, again, second = (scene(one, 0, image, 160)[0] for image in (0, 0, 1))
    assert np.array_equal(first.joints, again.joints)
    assert not np.allclose(first.joints, second.joints)
