from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from capetune.datasets.mp100.pictures import EXIF_ORIENTATION, Unusable
from capetune.errors import UserError
from capetune.prediction.pictures import Picture, find_pictures, read_picture


def save(path: Path, image: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


def test_a_folder_gives_all_that_is_called_like_a_picture_by_name(tmp_path):
    for name in ("b.JPG", "a/c.png", "a/b.jpeg", "notes.txt", "labels.json"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    other = tmp_path / "other.bin"
    found = find_pictures([tmp_path / "in", other])
    assert [picture.name for picture in found] == ["a/b.jpeg", "a/c.png", "b.JPG", other.as_posix()]
    assert found[0] == Picture("a/b.jpeg", tmp_path / "in/a/b.jpeg")


def test_no_picture_and_one_twice_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no picture"):
        find_pictures([tmp_path / "empty"])
    with pytest.raises(UserError, match=r"a\.jpg is there twice"):
        find_pictures([tmp_path / "a.jpg", tmp_path / "a.jpg"])
    with pytest.raises(UserError, match="no picture is named"):
        find_pictures([])


def test_it_is_read_the_right_way_up_and_in_colour(tmp_path):
    image = np.zeros((20, 30, 3), dtype=np.uint8)
    image[:10, :, 0] = 200
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6  # a quarter turn clockwise shows it upright
    turned = read_picture(save(tmp_path / "turned.png", image, exif=exif))
    np.testing.assert_array_equal(turned, np.rot90(image, -1))
    assert read_picture(save(tmp_path / "grey.png", image[..., 0])).shape == (20, 30, 3)
    deep = save(tmp_path / "deep.png", np.full((4, 5), 258 * 100, dtype=np.uint16))
    assert read_picture(deep).tolist() == [[[100] * 3] * 5] * 4


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "there is no such file"), (b"", "image unreadable"), (b"\xff\xd8\xff", "unreadable")]
)
def test_what_is_no_picture_is_said(tmp_path, content, reason):
    file = tmp_path / "odd.jpg"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Unusable, match=reason):
        read_picture(file)


def test_a_cut_picture_is_no_picture(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    file = save(tmp_path / "cut.jpg", noise)
    file.write_bytes(file.read_bytes()[:-900])
    with pytest.raises(Unusable, match="image unreadable"):
        read_picture(file)
