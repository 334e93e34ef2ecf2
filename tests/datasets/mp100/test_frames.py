import json

import pytest

from capetune.datasets.mp100.files import find_files, read_folder
from capetune.datasets.mp100.frames import split_by_frames
from capetune.errors import UserError


@pytest.fixture
def split(tiny_root, tmp_path):
    made = split_by_frames(tiny_root / "annotations", tmp_path / "out")
    return made, read_folder(tmp_path / "out")


def files(reading, id):
    return [instance.file_name for instance in reading.part.instances[id]]


def test_the_first_images_train_and_the_last_test(split):
    made, readings = split
    assert list(readings) == [(1, "train"), (1, "val"), (1, "test")]
    assert len(made) == 14
    assert made[0].counts == {"train": 10, "val": 3, "test": 5}  # 18 images
    for id in readings[1, "train"].part.instances:
        train, val, test = (set(files(readings[1, part], id)) for part in ("train", "val", "test"))
        assert max(train) < min(val) <= max(val) < min(test)


def test_nothing_is_lost_or_changed(split, tiny_root):
    """Every instance of the original files is in exactly one part, with the same pose, box and graph."""
    _, readings = split
    wanted = {}
    for reading in read_folder(tiny_root / "annotations").values():
        for category in reading.part.categories:
            for instance in reading.part.instances[category.id]:
                wanted[instance.id] = (category.graph, instance.xy.tolist(), instance.box.tolist())
    got = {}
    for reading in readings.values():
        for category in reading.part.categories:
            for instance in reading.part.instances[category.id]:
                assert instance.id not in got
                got[instance.id] = (category.graph, instance.xy.tolist(), instance.box.tolist())
    assert got == wanted


def test_only_the_categories_asked_for(tiny_root, tmp_path):
    made = split_by_frames(tiny_root / "annotations", tmp_path / "out", ["tiny100", "tiny88"], train=0.5, val=0.2)
    assert [frames.name for frames in made] == ["tiny100", "tiny88"]
    tree = json.loads(find_files(tmp_path / "out")[1, "test"].read_text())
    assert {category["name"] for category in tree["categories"]} == {"tiny100", "tiny88"}


def test_two_categories_that_share_a_name_are_both_there(gadgets):
    gadgets.categories.append({**gadgets.categories[0], "id": 102})
    gadgets.annotations += [{**one, "id": one["id"] + 10, "category_id": 102} for one in gadgets.annotations]
    gadgets.write()
    made = split_by_frames(gadgets.root / "annotations", gadgets.root / "out", ["gadget"], val=0)
    assert [frames.counts for frames in made] == [{"train": 2, "val": 0, "test": 1}] * 2


def test_without_a_validation_part_all_first_frames_are_to_train_on(tiny_root, tmp_path):
    (made,) = split_by_frames(tiny_root / "annotations", tmp_path / "out", ["tiny100"], train=0.5, val=0)
    assert made.counts == {"train": 9, "val": 0, "test": 9}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"categories": ["dog"]}, "no instance of 'dog'; there are tiny"),
        ({"train": 1.0}, "both are shares"),
        ({"val": 0.7}, "both are shares"),
        ({"train": 0.9999, "val": 0.1}, "18 images, too few for the parts; leave it out with --category"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(tiny_root, tmp_path, arguments, words):
    with pytest.raises(UserError, match=words):
        split_by_frames(tiny_root / "annotations", tmp_path / "out", **arguments)
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_overwritten(tiny_root, tmp_path):
    with pytest.raises(UserError, match="exists already"):
        split_by_frames(tiny_root / "annotations", tmp_path)


def test_what_the_reader_drops_is_not_written_but_said(gadgets):
    """Of an image id that is two pictures nothing is written: the second would be left with the first's annotation."""
    for n, annotation in enumerate(gadgets.annotations):
        annotation.update(id=11 if n == 1 else annotation["id"])
    gadgets.images.append({"id": 9, "file_name": "gadget/9.png", "width": 96, "height": 64})
    gadgets.images.append({"id": 9, "file_name": "gadget/10.png", "width": 96, "height": 64})
    gadgets.annotations.append({**gadgets.annotations[2], "id": 19, "image_id": 9})
    gadgets.write()
    told = []
    split_by_frames(gadgets.root / "annotations", gadgets.root / "out", val=0, train=0.5, tell=told.append)
    assert told == [
        "id occurs twice: 1 annotation left out: 11 (gadget/2.png)",
        "image id of several pictures: 1 annotation left out: 19 (image 9: gadget/9.png and gadget/10.png)",
    ]
    trees = [json.loads(path.read_text()) for path in find_files(gadgets.root / "out").values()]
    written = {(a["id"], a["image_id"]) for tree in trees for a in tree["annotations"]}
    assert written == {(11, 1), (13, 3)}
    assert {image["id"] for tree in trees for image in tree["images"]} == {1, 3}
