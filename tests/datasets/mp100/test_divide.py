"""Own annotations become split 1."""

import json
import shutil
from pathlib import Path

import pytest

from capetune.datasets.mp100.divide import divide
from capetune.datasets.mp100.parts import SEVERAL_PARTS, picture
from capetune.datasets.packs.reader import open_pack
from capetune.datasets.packs.writer import pack
from capetune.errors import UserError
from capetune.pose import PARTS


@pytest.fixture(scope="module")
def exported(tiny_root, tmp_path_factory):
    """exported(ids of categories, …): one COCO file of them; 20 instances on 18 pictures each."""
    trees = [json.loads(file.read_text()) for file in sorted((tiny_root / "annotations").glob("mp100_split1_*.json"))]

    def write(*ids: int) -> Path:
        annotations = [a for tree in trees for a in tree["annotations"] if a["category_id"] in ids]
        named = {a["image_id"] for a in annotations}
        images = [image for tree in trees for image in tree["images"] if image["id"] in named]
        categories = [c for tree in trees for c in tree["categories"] if c["id"] in ids]
        file = tmp_path_factory.mktemp("exported") / "own.json"
        file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
        return file

    return write


def files(gathered, part):
    return {picture(i.file_name) for group in gathered.readings[1, part].part.instances.values() for i in group}


def test_one_category_is_split_by_pictures_and_none_is_in_two_parts(exported, tiny_root):
    gathered, division = divide([exported(100)], tiny_root / "images")
    assert division.by == "pictures"
    assert division.categories == {"train": 1, "val": 1, "test": 1}
    train, val, test = (files(gathered, part) for part in PARTS)
    assert (len(train), len(val), len(test)) == (10, 3, 5)
    assert max(train) < min(val) <= max(val) < min(test)
    assert len(gathered.instances) == 20


def test_many_categories_are_split_by_them(exported, tiny_root):
    gathered, division = divide([exported(*range(87, 101))], tiny_root / "images")
    assert (division.by, division.categories) == ("categories", {"train": 10, "val": 1, "test": 3})
    assert division.validated == (20,)
    parts = [set(gathered.readings[1, part].part.instances) for part in PARTS]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    assert set.union(*parts) == set(range(87, 101))


def test_another_way_may_be_asked_for(exported, tiny_root):
    assert divide([exported(*range(87, 101))], tiny_root / "images", "pictures")[1].by == "pictures"
    assert divide([exported(87, 88, 89)], tiny_root / "images", "categories")[1].categories == dict.fromkeys(PARTS, 1)


def test_a_picture_with_categories_of_several_parts_is_doubtful(exported, tiny_root):
    file = exported(87, 88, 89)
    tree = json.loads(file.read_text())
    for annotation in tree["annotations"]:  # all categories on one picture each
        annotation["image_id"] = tree["images"][annotation["id"] % 18]["id"]
    file.write_text(json.dumps(tree))
    by_categories, _ = divide([file], tiny_root / "images", "categories")
    assert SEVERAL_PARTS in {doubt.reason for doubt in by_categories.doubts}
    by_pictures, _ = divide([file], tiny_root / "images")
    assert SEVERAL_PARTS not in {doubt.reason for doubt in by_pictures.doubts}


def test_pictures_that_are_not_there_take_no_place_in_a_part_and_are_named(exported, tiny_root, tmp_path):
    shutil.copytree(tiny_root / "images" / "tiny100_body", tmp_path / "images" / "tiny100_body")
    for n in range(12, 18):  # the test part, were it all there
        (tmp_path / f"images/tiny100_body/{n:03}.jpg").unlink()
    gathered, division = divide([exported(100)], tmp_path / "images")
    manifest = pack(gathered, tmp_path / "images", tmp_path / "pack", size=64)
    assert {part: len(entry.instances) for part, entry in manifest.splits["1"].items()} == {
        "train": 8,
        "val": 2,
        "test": 4,
    }
    assert division.validated == (2,)
    assert manifest.left_out["image missing"].instances == 6


def test_what_is_dropped_is_in_the_manifest_by_id_and_strict_refuses(exported, tiny_root, tmp_path):
    file = exported(100)
    tree = json.loads(file.read_text())
    tree["annotations"][0]["iscrowd"] = 1
    file.write_text(json.dumps(tree))
    gathered, _ = divide([file], tiny_root / "images")
    manifest = pack(gathered, tiny_root / "images", tmp_path / "pack", size=64)
    assert manifest.left_out["crowd"].ids == (tree["annotations"][0]["id"],)
    assert manifest.splits["1"]["train"].dropped == {"crowd": 1}
    with pytest.raises(UserError, match="crowd: 1 annotation"):
        pack(gathered, tiny_root / "images", tmp_path / "strict", size=64, strict=True)


def test_it_trains_and_tests_the_same_poses_as_the_file_has(exported, tiny_root, tmp_path):
    file = exported(99, 100)
    pack(divide([file], tiny_root / "images")[0], tiny_root / "images", tmp_path / "pack", size=64)
    packed = {i.id: i for i in open_pack(tmp_path / "pack").instances}
    for annotation in json.loads(file.read_text())["annotations"]:
        instance = packed.pop(annotation["id"])
        assert instance.xy.ravel().tolist() == [v for n, v in enumerate(annotation["keypoints"]) if n % 3 < 2]
    assert not packed


def test_too_few_pictures_are_refused(exported, tiny_root):
    file = exported(100)
    tree = json.loads(file.read_text())
    tree["images"] = tree["images"][:2]
    kept = {image["id"] for image in tree["images"]}
    tree["annotations"] = [a for a in tree["annotations"] if a["image_id"] in kept]
    file.write_text(json.dumps(tree))
    with pytest.raises(UserError, match="2 pictures of 1 category can't be split into what trains, validates and"):
        divide([file], tiny_root / "images")


def test_a_wrong_images_folder_is_told_as_ever(exported, tiny_root, tmp_path):
    with pytest.raises(UserError, match=r"none of the 18 images is there, .* for one"):
        pack(divide([exported(100)], tmp_path)[0], tmp_path, tmp_path / "pack")
