"""What a pack's manifest knows of MP-100, of which a pack may be a part, and of its categories."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from PIL import Image

from capetune.datasets.packs.manifest import CategoryEntry
from capetune.datasets.packs.reader import open_pack
from capetune.datasets.packs.writer import pack
from capetune.pose import Category, PoseGraph


@pytest.fixture
def downloads_in_place(tmp_path, write_mp100):
    """Annotations and images of a bed and a sofa, as MP-100 has them."""
    names, images, notes = {84: "bed", 49: "sofa"}, [], []
    pose = {"bbox": [2, 2, 40, 30], "keypoints": [5, 5, 2, 30, 20, 2], "num_keypoints": 2}
    for id, name in names.items():
        images.append({"id": id, "file_name": f"{name}/1.jpg", "width": 64, "height": 48})
        notes.append({"id": id, "image_id": id, "category_id": id, **pose})
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("RGB", (64, 48), (id, 0, 0)).save(tmp_path / f"images/{name}/1.jpg")
    categories = [{"id": id, "name": name, "keypoints": ["a", "b"], "skeleton": []} for id, name in names.items()]
    write_mp100(tmp_path, categories, images, notes, {(1, "test"): [84, 49]})
    return tmp_path / "annotations", tmp_path / "images"


def test_a_pack_of_mp100_says_how_much_of_it_there_is(tmp_path, downloads_in_place):
    annotations, images = downloads_in_place
    shutil.rmtree(images / "sofa")
    manifest = pack(annotations, images, tmp_path / "pack", shards=1)
    told = json.loads((tmp_path / "pack/manifest.json").read_text())["mp100"]
    assert (told["there"], told["of"], len(told["missing"])) == (1, 100, 99)
    assert {"id": 49, "name": "sofa"} in told["missing"]
    assert {"id": 1, "name": "skirt"} in told["missing"], "the annotations don't name it at all"
    assert manifest.coverage == open_pack(tmp_path / "pack").manifest.coverage


def test_an_older_pack_knows_it_too_and_another_data_set_is_no_part_of_mp100(tmp_path, downloads_in_place, tiny_pack):
    pack(*downloads_in_place, tmp_path / "pack", shards=1)
    file = tmp_path / "pack/manifest.json"
    tree = json.loads(file.read_text())
    del tree["mp100"]
    file.write_text(json.dumps(tree))
    assert open_pack(tmp_path / "pack").manifest.coverage.to_json()["there"] == 2
    assert open_pack(tiny_pack).manifest.coverage is None
    assert "mp100" not in json.loads((tiny_pack / "manifest.json").read_text()), "its bytes are what they were"


def test_a_pack_keeps_super_categories_and_older_ones_have_none():
    category = Category(2, "horse_body", "horse_body", PoseGraph(("a", "b"), ((0, 1),)), "Equidae")
    entry = CategoryEntry.of(category)
    assert CategoryEntry.model_validate_json(entry.model_dump_json()).category() == category
    older = entry.model_dump(exclude={"supercategory"})
    assert CategoryEntry.model_validate(older).category() == replace(category, supercategory="")
