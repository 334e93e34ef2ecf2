from __future__ import annotations

import cv2
import numpy as np
import pytest

from capetune.errors import UserError
from capetune.prediction.pictures import Picture, find_pictures, opened
from capetune.prediction.video import count_frames, promised

COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30))  # RGB, a frame each


def write(file, pictures):
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for picture in pictures:
        writer.write(picture[..., ::-1])
    writer.release()
    return file


@pytest.fixture
def walk(tmp_path):
    """A video of four frames, each of one colour."""
    return write(tmp_path / "walk.avi", [np.full((48, 64, 3), colour, np.uint8) for colour in COLOURS])


def test_a_video_is_its_frames_in_order_and_in_colour(walk):
    found = find_pictures([walk])
    assert [picture.name for picture in found] == [f"{walk}#{n}" for n in (1, 2, 3, 4)]
    seen = [pixels for _, pixels in opened(found)]
    assert [pixels.shape for pixels in seen] == [(48, 64, 3)] * 4
    np.testing.assert_allclose([pixels.mean(axis=(0, 1)) for pixels in seen], COLOURS, atol=6)


def test_some_frames_beside_pictures_are_the_right_ones(walk, tmp_path):
    found = find_pictures([walk])
    picture = Picture("a.jpg", tmp_path / "a.jpg")
    asked = [picture, found[1], found[3], picture]
    seen = list(opened(asked))
    assert [each for each, _ in seen] == asked
    assert [pixels is None for _, pixels in seen] == [True, False, False, True]
    np.testing.assert_allclose([seen[n][1].mean(axis=(0, 1)) for n in (1, 2)], [COLOURS[1], COLOURS[3]], atol=6)


def test_a_cut_video_is_read_as_far_as_it_goes(tmp_path):
    file = write(tmp_path / "long.avi", np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), dtype=np.uint8))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert 0 < count_frames(file) < promised(file) == 40


@pytest.mark.parametrize("content", [b"", b"this is no video\n" * 50, b"\0" * 4096])
def test_what_is_called_like_a_video_and_is_none_is_refused(tmp_path, content, capfd):
    file = tmp_path / "walk.MP4"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"walk\.MP4 is no video that can be read; give another, or pictures"):
        find_pictures([file])
    assert capfd.readouterr() == ("", "")
