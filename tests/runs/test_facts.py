from __future__ import annotations

import pytest
from PIL import Image

from capetune.datasets.packs.reader import open_pack
from capetune.datasets.packs.writer import pack
from capetune.runs.facts import describe_data


@pytest.fixture
def beds(tmp_path, write_mp100):
    """A pack of MP-100's beds, in all three parts of split 1."""
    pose = {"bbox": [2, 2, 40, 30], "keypoints": [5, 5, 2, 30, 20, 2], "num_keypoints": 2}
    category = {"id": 84, "name": "bed", "keypoints": ["a", "b"], "skeleton": []}
    image = {"id": 1, "file_name": "bed/1.jpg", "width": 64, "height": 48}
    parts = {(1, part): [84] for part in ("train", "val", "test")}
    write_mp100(tmp_path, [category], [image], [{"id": 1, "image_id": 1, "category_id": 84, **pose}], parts)
    (tmp_path / "images/bed").mkdir(parents=True)
    Image.new("RGB", (64, 48)).save(tmp_path / "images/bed/1.jpg")
    pack(tmp_path / "annotations", tmp_path / "images", tmp_path / "pack", shards=1)
    return open_pack(tmp_path / "pack")


def test_a_run_on_a_part_of_mp100_records_how_much_of_it_there_is(beds):
    told = describe_data(beds, 1)["mp100"]
    assert (told["there"], told["of"], len(told["missing"])) == (1, 100, 99)
    assert {"id": 80, "name": "hand"} in told["missing"]


def test_of_another_data_set_nothing_is_said_of_mp100(tiny_pack):
    assert "mp100" not in describe_data(open_pack(tiny_pack), 1)
