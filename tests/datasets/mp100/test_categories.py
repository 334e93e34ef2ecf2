import json

import pytest

from capetune.datasets.mp100.categories import split_by_categories
from capetune.datasets.mp100.files import find_files, read_folder, read_part
from capetune.errors import UserError


def test_each_category_is_in_one_part_with_all_its_instances(tiny_root, tmp_path):
    made = split_by_categories(tiny_root / "annotations", tmp_path / "out")
    assert {part: len(names) for part, names in made.items()} == {"train": 10, "val": 1, "test": 3}
    readings = read_folder(tmp_path / "out")
    for (split, part), reading in readings.items():
        assert split == 1
        assert {category.name for category in reading.part.categories} == set(made[part])
        assert {len(group) for group in reading.part.instances.values()} == {20}
    found = {i.id: i for r in readings.values() for group in r.part.instances.values() for i in group}
    for reading in read_folder(tiny_root / "annotations").values():
        for group in reading.part.instances.values():
            for instance in group:
                assert found[instance.id].xy.tolist() == instance.xy.tolist()


def test_the_split_is_the_same_each_time(tiny_root, tmp_path):
    made = [split_by_categories(tiny_root / "annotations", tmp_path / name) for name in ("a", "b")]
    assert made[0] == made[1]


def test_only_the_categories_asked_for(tiny_root, tmp_path):
    made = split_by_categories(tiny_root / "annotations", tmp_path / "out", ["tiny90", "tiny91", "tiny92"])
    assert sorted(name for names in made.values() for name in names) == ["tiny90", "tiny91", "tiny92"]


def test_a_picture_of_categories_of_two_parts_is_said(tiny_root, tmp_path):
    (tmp_path / "annotations").mkdir()
    tree = json.loads((tiny_root / "annotations/mp100_split1_train.json").read_text())
    ids = [category["id"] for category in tree["categories"][:3]]
    other = [next(a for a in tree["annotations"] if a["category_id"] == id) for id in ids]
    for annotation in other[1:]:
        annotation["image_id"] = other[0]["image_id"]
    (tmp_path / "annotations/mp100_split1_train.json").write_text(json.dumps(tree))
    told = []
    split_by_categories(tmp_path / "annotations", tmp_path / "out", [f"tiny{id}" for id in ids], told.append)
    assert any(
        line.startswith("doubtful: picture with categories of several parts: 1 image with 4 instances") for line in told
    )


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["tiny90", "dog"], "no instance of 'dog'; there are tiny"),
        (["tiny90", "tiny91"], "2 categories aren't one to train on, one to validate and one to test: --by frames"),
        (["tiny90"], "a split by categories needs 1 to test and 1 to validate with the 16 .* give --by frames$"),
    ],
)
def test_too_few_are_refused_and_nothing_is_left(tiny_root, tmp_path, names, words):
    with pytest.raises(UserError, match=words):
        split_by_categories(tiny_root / "annotations", tmp_path / "out", names)
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_overwritten(tiny_root, tmp_path):
    with pytest.raises(UserError, match="exists already"):
        split_by_categories(tiny_root / "annotations", tmp_path)


def test_files_are_mp100_s(tiny_root, tmp_path):
    split_by_categories(tiny_root / "annotations", tmp_path / "out")
    found = find_files(tmp_path / "out")
    assert list(found) == [(1, "train"), (1, "val"), (1, "test")]
    assert read_part(found[1, "test"], 1, "test").own, "its split isn't MP-100's"
