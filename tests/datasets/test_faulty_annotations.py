"""Faults of annotation files that users met: what is right, and that `check` and `pack` say the same of it."""

from __future__ import annotations

import pytest

from capetune.datasets.mp100.format import load_json
from capetune.errors import UserError

ALL = [11, 12, 13]
NAN = float("nan")
REST = [63, 17, 2, 67, 45, 2, 27, 49, 2]  # the last three keypoints


@pytest.mark.parametrize(
    ("spoil", "left_out"),
    [
        (lambda g: g.change(category_id=102), "category not listed: 1 annotation left out: 11 (category 102)"),
        (lambda g: g.change(image_id=77), "image not listed: 1 annotation left out: 11 (image 77)"),
        (lambda g: g.change(iscrowd=1), "crowd: 1 annotation left out: 11"),
        (lambda g: g.change(area=0), "area not positive: 1 annotation left out: 11"),
        (
            lambda g: g.change(bbox=[0, 0, 0, 0], keypoints=[], num_keypoints=0, area=0),
            "box empty after clipping: 1 annotation left out: 11",
        ),
        (
            lambda g: g.change(num_keypoints=0),
            "num_keypoints is 0, yet keypoints are visible: 1 annotation left out: 11 (4 are visible)",
        ),
        (
            lambda g: g.change(keypoints=REST),
            "number of keypoints differs from the category's: 1 annotation left out: 11 (3 for 4)",
        ),
        (
            lambda g: g.change(keypoints=[NAN, 13, 2, *REST]),
            "keypoints are not triples of finite numbers: 1 annotation left out: 11",
        ),
        (
            lambda g: g.change(keypoints=["23", "13", "2", *REST]),
            "keypoints are not triples of finite numbers: 1 annotation left out: 11",
        ),
        (lambda g: g.annotations[0].pop("keypoints"), "no keypoints given: 1 annotation left out: 11"),
        (
            lambda g: g.change(bbox=None, keypoints=[23, 13, 2] + [0] * 9, num_keypoints=1),
            "no box, and too few visible keypoints to make one: 1 annotation left out: 11",
        ),
    ],
)
def test_an_annotation_that_cannot_be_used_is_left_out_and_named(gadgets, spoil, left_out):
    spoil(gadgets)
    assert gadgets.agreed() == ([12, 13], [left_out], [])


@pytest.mark.parametrize(
    ("spoil", "doubts"),
    [
        (lambda g: None, []),
        (lambda g: g.annotations[0].pop("area"), []),
        (lambda g: g.change(keypoints=[NAN, NAN, 0, *REST], num_keypoints=3), []),
        (lambda g: g.change(keypoints=[None, None, 0, *REST], num_keypoints=3), []),
        (lambda g: g.change(keypoints=[None, None, None, *REST], num_keypoints=3), []),
        (lambda g: g.change(keypoints=[21, 13, 0.1, *REST]), []),
        (lambda g: g.change(keypoints=[-21, -13, 0, *REST], num_keypoints=3), []),
        (lambda g: g.categories[0].update(name="gear [/old] [left] 歯車 <b>"), []),
        (lambda g: g.categories[0].update(keypoints=["left", "right", "left", "right"]), []),
        (lambda g: g.images.append(dict(g.images[0])), []),
        (lambda g: g.categories.append(dict(g.categories[0])), []),
        (
            lambda g: g.change(keypoints=[21, 13, 0, *REST]),
            ["num_keypoints is not the number of visible keypoints: 1 annotation: 11 (says 4, 3 are visible)"],
        ),
        (
            lambda g: g.change(bbox=[0, 0, 70, 50], area=3500, keypoints=[0, 0, 2, *REST]),
            ["visible keypoint at (0, 0): 1 annotation: 11"],
        ),
        (lambda g: g.annotations[0].pop("bbox"), ["no box: made from the visible keypoints: 1 annotation: 11"]),
        (
            lambda g: g.categories.insert(0, {"id": 0, "name": "gadgets"}),
            ["category without keypoints: skipped: 1 category: 0 (gadgets)"],
        ),
        (
            lambda g: g.categories.append({**g.categories[0], "name": "widget"}),
            ["category id of several categories: the first is taken: 1 category: 101"],
        ),
        (
            lambda g: g.name("gadget/1.png", 1),
            ["picture under several image ids: 1 image with 2 instances: gadget/1.png (images 1 and 2)"],
        ),
    ],
)
def test_what_can_be_used_is_kept_and_named_where_it_may_be_wrong(gadgets, spoil, doubts):
    spoil(gadgets)
    assert gadgets.agreed() == (ALL, [], [f"doubtful: {doubt}" for doubt in doubts])


def test_as_many_repeats_of_an_id_are_counted_as_are_lost(gadgets):
    for annotation in gadgets.annotations:
        annotation["id"] = 11
    said = "id occurs twice: 2 annotations left out: 11 (gadget/2.png, gadget/3.png)"
    assert gadgets.agreed() == ([11], [said], [])


def test_several_files_that_share_a_fault_count_it_once(gadgets):
    for annotation in gadgets.annotations:
        annotation["id"] = 11
    for name in ("mp100_split2_train.json", "mp100_split3_train.json"):
        gadgets.write(name)
    assert gadgets.agreed()[1] == ["id occurs twice: 2 annotations left out: 11 (gadget/2.png, gadget/3.png)"]


@pytest.mark.parametrize(
    ("spoil", "kept", "pictures"),
    [
        (lambda g: (g.images[1].update(id=1), g.change(1, image_id=1)), [13], "gadget/1.png and gadget/2.png"),
        (
            lambda g: g.images.append({**g.images[0], "width": 64}),
            [12, 13],
            "gadget/1.png 96×64 and gadget/1.png 64×64",
        ),
    ],
)
def test_of_an_image_id_that_is_two_pictures_nothing_is_taken(gadgets, spoil, kept, pictures):
    spoil(gadgets)
    ids, [left_out], _ = gadgets.agreed()
    assert ids == kept
    assert left_out.startswith(f"image id of several pictures: {3 - len(kept)} annotation")
    assert f"11 (image 1: {pictures})" in left_out


def test_a_category_without_keypoints_takes_its_annotations_with_it(gadgets):
    gadgets.categories.append({"id": 102, "name": "boxes", "keypoints": None})
    gadgets.change(category_id=102)
    del gadgets.annotations[0]["keypoints"]
    assert gadgets.agreed() == (
        [12, 13],
        ["category without keypoints: 1 annotation left out: 11 (category 102)"],
        ["doubtful: category without keypoints: skipped: 1 category: 102 (boxes)"],
    )


def test_a_category_may_leave_its_keypoints_to_the_annotations(gadgets):
    del gadgets.categories[0]["keypoints"]
    assert gadgets.agreed() == (ALL, [], [])
    assert gadgets.check().categories[0].quirks["keypoint names missing"] == 1


def test_a_missing_box_is_the_smallest_around_the_visible_keypoints(gadgets):
    gadgets.change(bbox=None, area=0, keypoints=[20, 10, 2, 60, 50, 2, 90, 60, 0, 30, 20, 1], num_keypoints=3)
    gadgets.agreed()
    assert gadgets.check().categories[0].quirks["no box: made from the visible keypoints"] == 1
    first = gadgets.opened().row(11).instance
    assert first.box.tolist() == [20, 10, 40, 40]


def test_an_unlabelled_keypoint_needs_no_coordinates(gadgets):
    gadgets.change(keypoints=[NAN, None, 0, *REST], num_keypoints=3)
    gadgets.agreed()
    assert gadgets.check().categories[0].quirks["unlabelled keypoint without coordinates"] == 1
    first = gadgets.opened().row(11).instance
    assert first.visible.tolist() == [False, True, True, True]
    assert first.xy.tolist() == [[0, 0], [63, 17], [67, 45], [27, 49]]


def test_json_files_of_other_names_are_named(gadgets):
    gadgets.write("mp100_split1_test (1).json")
    gadgets.write("mp100_split6_test.json")
    _, _, doubts = gadgets.agreed()
    assert doubts == ["2 json files of other names, not read: mp100_split1_test (1).json, mp100_split6_test.json"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda g: [a.update(bbox=[18, 7, 56, 48]) for a in g.annotations],
            "annotation 11 differs between mp100_split1_test.json and mp100_split2_test.json, as do 2 more: ids must "
            "differ between files that mean different annotations; number them anew",
        ),
        (
            lambda g: g.images[0].update(file_name="gadget/2.png"),
            "annotation 11 differs between mp100_split1_test.json and mp100_split2_test.json: ids must differ",
        ),
        (
            lambda g: [a.update(id=100 + a["id"]) for a in g.annotations] and g.name("gadget/4.png"),
            "image 1 differs between mp100_split1_test.json and mp100_split2_test.json: ids must differ between files "
            "that mean different pictures",
        ),
        (
            lambda g: g.categories[0].update(name="widget"),
            "category 101 is 'gadget' with 4 keypoints in mp100_split1_test.json and 'widget' with 4 in "
            "mp100_split2_test.json: ids must differ between files that mean different categories",
        ),
        (
            lambda g: g.categories[0].update(keypoints=["c", "d", "a", "b"]),
            "keypoint 'a' of category 101, 'gadget', is number 1 in mp100_split1_test.json and number 3 in "
            "mp100_split2_test.json: bring names and coordinates into one order",
        ),
        (lambda g: g.categories[0].update(keypoints=["B", "A", "x", "y"]), "keypoint 'a' of category 101"),
    ],
)
def test_what_two_files_mean_unlike_each_other_is_told_by_check_and_refused_by_pack(gadgets, spoil, said):
    gadgets.write()
    spoil(gadgets)
    gadgets.write("mp100_split2_test.json")
    told = gadgets.check().contradictions
    assert told[0].startswith(said)
    with pytest.raises(UserError) as error:
        gadgets.pack()
    assert str(error.value) == told[0]
    assert not (gadgets.root / "out").exists()


def test_keypoints_of_other_names_in_another_file_are_doubtful(gadgets):
    gadgets.write("mp100_split2_test.json")
    gadgets.categories[0].update(keypoints=["e", "f", "g", "h"], skeleton=[[1, 4]])
    files = "mp100_split1_test.json and mp100_split2_test.json"
    assert gadgets.agreed()[2] == [
        f"doubtful: keypoint names differ between files: 1 category: 101 ({files})",
        f"doubtful: skeleton differs between files: 1 category: 101 ({files})",
    ]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda g: g.images[0].update(id="1"), r"'id' of images\[0\] is \"1\"; each image needs an id .*, an integer"),
        (
            lambda g: g.images[0].pop("width"),
            r"'width' of images\[0\] is missing; .* width and height in pixels, integers; `capetune data import`",
        ),
        (
            lambda g: g.annotations[1].pop("id"),
            r"'id' of annotations\[1\] is missing; .* an id .*; `capetune data import`",
        ),
        (lambda g: g.change(area="1"), r"'area' of annotations\[0\] is \"1\"; an area is a number, or left out"),
        (
            lambda g: g.categories[0].update(keypoints="a"),
            r"'keypoints' of categories\[0\] is \"a\"; each category needs",
        ),
        (
            lambda g: [a.pop("keypoints") for a in g.annotations],
            "no annotation has 'keypoints'; each object needs one annotation with all its keypoints",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_a_cure_that_fits(gadgets, spoil, said):
    spoil(gadgets)
    gadgets.write()
    for work in (gadgets.check, gadgets.pack):
        with pytest.raises(UserError, match=said) as error:
            work()
        assert "authors" not in str(error.value), "people's own data was published by nobody"


def test_a_folder_in_place_of_a_file_is_said_with_the_cure(tmp_path):
    with pytest.raises(UserError, match=r"is a folder: give the JSON file in it, or see `capetune data import --help`"):
        load_json(tmp_path)


def test_a_file_in_another_encoding_is_refused_with_the_cure(gadgets):
    gadgets.categories[0]["name"] = "Gerät"
    path = gadgets.write()
    path.write_bytes(path.read_text().encode().decode("unicode_escape").encode("latin-1"))
    with pytest.raises(UserError, match=r"is not JSON in UTF-8 .* byte 0xe4 .*; save it as UTF-8"):
        gadgets.check()


def test_a_byte_order_mark_is_read(gadgets):
    path = gadgets.write()
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert gadgets.check().categories[0].instances == 3


def test_strict_refuses_what_the_reader_drops(gadgets):
    gadgets.change(iscrowd=1)
    gadgets.change(1, category_id=102)
    gadgets.write()
    said = r"category not listed: 1 annotation: 12 \(category 102\); crowd: 1 annotation: 11; without --strict"
    with pytest.raises(UserError, match=said):
        gadgets.pack(strict=True)
    assert not (gadgets.root / "out").exists()


def test_strict_packs_what_is_only_doubtful(gadgets):
    gadgets.change(num_keypoints=3)
    gadgets.write()
    assert len(gadgets.pack(strict=True).instances) == 3


def test_ids_may_count_from_0(gadgets):
    gadgets.categories[0]["id"] = 0
    for n, image in enumerate(gadgets.images):
        image["id"] = n
        gadgets.change(n, id=n, image_id=n, category_id=0)
    assert gadgets.agreed() == ([0, 1, 2], [], [])
