from __future__ import annotations

import json
from pathlib import Path

import pytest

from capetune.errors import UserError
from capetune.prediction.boxes import read_boxes
from capetune.prediction.pictures import Picture

IMAGES = [{"id": 1, "file_name": "x/a.jpg"}, {"id": 2, "file_name": "y/a.jpg"}, {"id": 3, "file_name": "y/b.jpg"}]
BOXES = [
    {"image_id": 1, "bbox": [1, 2, 3, 4]},
    {"image_id": 3, "bbox": [5, 6, 7, 8.5]},
    {"image_id": 3, "bbox": [0, 0, 9, 9]},
]


@pytest.fixture
def write(tmp_path):
    def write(**tables) -> Path:
        tree = {"images": IMAGES, "annotations": BOXES, "categories": []} | tables
        (tmp_path / "boxes.json").write_text(json.dumps(tree))
        return tmp_path / "boxes.json"

    return write


def picture(name: str) -> Picture:
    return Picture(name, Path("/somewhere") / name)


def test_a_picture_is_found_by_its_name_its_path_s_end_or_a_name_that_is_one_picture_s(write):
    asked = [picture("x/a.jpg"), picture("b.jpg"), picture("a.jpg"), picture("c.jpg"), Picture("z", Path("/o/y/a.jpg"))]
    found, others = read_boxes(write(), asked)
    assert {name: [box.tolist() for box in boxes] for name, boxes in found.items()} == {
        "x/a.jpg": [[1, 2, 3, 4]],
        "b.jpg": [[5, 6, 7, 8.5], [0, 0, 9, 9]],
        "z": [],
    }
    assert others == 0
    assert read_boxes(write(), [picture("x/a.jpg")])[1] == 2


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        ({"annotations": [{"image_id": 1, "bbox": [1, 2, 3]}]}, "annotations.0.bbox"),
        ({"annotations": [{"image_id": 1, "bbox": [1, 2, 3, float("inf")]}]}, "annotations.0.bbox.3"),
        ({"annotations": [{"image_id": 9, "bbox": [1, 2, 3, 4]}]}, "a box is of image 9, which isn't listed"),
        ({"images": [{"id": 1}]}, "images.0.file_name"),
        ({"images": None}, "wanted is COCO's format"),
    ],
)
def test_what_has_no_boxes_is_named(write, tables, line):
    with pytest.raises(UserError) as raised:
        read_boxes(write(**tables), [])
    assert line in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"--boxes .*none\.json: there is no such file"):
        read_boxes(tmp_path / "none.json", [])
