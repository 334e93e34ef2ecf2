from __future__ import annotations

import gzip
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capetune.datasets.mp100.files import find_files, read_file, read_folder, read_part
from capetune.datasets.mp100.findings import noted, said
from capetune.datasets.mp100.gather import survey
from capetune.datasets.mp100.instance import clip_box
from capetune.errors import UserError


def reasons(findings):
    return Counter(finding.reason for finding in findings)


def read(mp100, **tables):
    return read_file(mp100.write(**tables), 1, "test")


# Categories


def test_an_instance_is_what_the_file_says(mp100, capfd):
    reading = read(mp100)
    (instance,) = reading.part.instances[2]
    assert (instance.id, instance.image_id, instance.category_id) == (11, 1, 2)
    assert instance.file_name == "horse_body/1.jpg"
    assert instance.image_size == (100, 80)
    assert instance.box.tolist() == [10, 20, 40, 30]
    assert instance.xy.tolist() == [[15, 25], [20, 30], [0, 0]]
    assert instance.visible.tolist() == [True, True, False]
    assert instance.box.dtype == instance.xy.dtype == np.float64
    assert instance.visible.dtype == bool
    assert instance.side == 40
    assert (reading.part.split, reading.part.part, reading.part.synthetic) == (1, "test", False)
    assert not reading.dropped
    assert capfd.readouterr() == ("", ""), "pycocotools' prints stay inside"


@pytest.mark.parametrize(
    ("keypoints", "names", "quirk"),
    [
        (["nose", "tail", "hoof"], ("nose", "tail", "hoof"), None),
        (3, ("0", "1", "2"), "keypoints given as a count"),
        ([], ("0", "1", "2"), "keypoint names missing"),
    ],
)
def test_k_comes_from_names_or_a_count_or_the_annotations(mp100, keypoints, names, quirk):
    reading = read(mp100, categories=[mp100.category(keypoints=keypoints)])
    assert reading.part.categories[0].graph.names == names
    assert len(reading.part) == 1
    assert quirk is None or reasons(reading.quirks)[quirk] == 1


def test_the_two_faces_without_names_or_annotations_still_have_their_k(mp100):
    faces = [mp100.category(18, "face", []), mp100.category(40, "face", []), mp100.category(200, "face", [])]
    aflw, ibug, unknown = read(mp100, categories=faces, images=[], annotations=[]).part.categories
    assert (aflw.graph.size, ibug.graph.size, unknown.graph.size) == (19, 68, 0)
    assert (aflw.folder, ibug.folder, unknown.folder) == ("amur_tiger_body", "human_face", "face")


def test_categories_of_one_name_stay_apart(mp100):
    categories = [mp100.category(18, "face", []), mp100.category(40, "face", [])]
    images = [mp100.image(1, "amur_tiger_body/flickr/0/a.jpg"), mp100.image(2, "human_face/b.png")]
    longer = [5, 6, 1] * 4
    annotations = [mp100.annotation(11, 1, 18), mp100.annotation(12, 2, 40, keypoints=longer, num_keypoints=4)]
    reading = read(mp100, categories=categories, images=images, annotations=annotations)
    first, second = reading.part.categories
    assert (first.folder, first.graph.size) == ("amur_tiger_body", 3)
    assert (second.folder, second.graph.size) == ("human_face", 4)
    assert [i.id for i in reading.part.instances[18]] == [11]
    assert [i.id for i in reading.part.instances[40]] == [12]
    assert reasons(reading.quirks)["name shared by two categories"] == 2


@pytest.mark.parametrize(
    ("skeleton", "edges", "base"),
    [
        ([[1, 2], [2, 3]], ((0, 1), (1, 2)), 1),
        ([[0, 1], [1, 2]], ((0, 1), (1, 2)), 0),
        ([[3, 1], [2, 1], [1, 2]], ((0, 1), (0, 2)), 1),
        ([[1, 2], [3, 4], [2, 2]], ((0, 1),), 1),
        ([[0, 3], [0, 2]], ((0, 2),), 0),
        ([["a", "b"], [1, 2, 3], None], (), None),
        ("1-2", (), None),
        (None, (), None),
        ([], (), None),
    ],
)
def test_edges_are_zero_based_ordered_and_once_whatever_the_base(mp100, skeleton, edges, base):
    reading = read(mp100, categories=[mp100.category(skeleton=skeleton)])
    assert reading.part.categories[0].graph.edges == edges
    assert reading.bases == {2: base}


def test_dropped_edges_are_counted(mp100):
    found = reasons(read(mp100, categories=[mp100.category(skeleton=[[1, 2], [1, 2], [3, 4], [9, 1]])]).quirks)
    assert found["2 edges dropped: not between the numbers of two keypoints"] == 1
    assert found["edge listed twice"] == 1


def test_the_folder_is_where_most_images_lie(mp100):
    images = [mp100.image(n, f"{folder}/{n}.jpg") for n, folder in enumerate(("x", "y/0", "y/1"))]
    annotations = [mp100.annotation(n + 10, n) for n in range(3)]
    assert read(mp100, images=images, annotations=annotations).part.categories[0].folder == "y"


def test_a_category_listed_without_annotations_keeps_its_key(mp100):
    reading = read(mp100, categories=[mp100.category(), mp100.category(78, "long_sleeved_outwear")])
    assert reading.part.instances[78] == ()
    assert reasons(f for f in reading.quirks if f.category == 78) == {"listed but empty": 1}


def test_a_category_is_equal_in_every_file(mp100):
    other = mp100.category(201, "own_name", [])
    image = mp100.image(file_name="elsewhere/1.jpg")
    mp100.write(categories=[mp100.category(), other], name="mp100_split1_test.json")
    annotations = [mp100.annotation(category_id=201)]
    mp100.write([other, mp100.category()], [image], annotations, name="mp100_split2_train.json.gz")
    readings = read_folder(mp100.folder)
    assert list(readings) == [(1, "test"), (2, "train")]
    here = {c.id: c for c in readings[1, "test"].part.categories}
    there = {c.id: c for c in readings[2, "train"].part.categories}
    assert here == there
    assert here[201].folder == "elsewhere"
    assert here[201].graph.size == 3


# Instances


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        ((10, 20, 41, 31), (10, 20, 40, 30)),
        ((-5, -6, 41, 31), (0, 0, 40, 30)),  # the official rule moves such a box rather than cutting it
        ((90, 70, 50, 50), (90, 70, 9, 9)),
        ((0, 0, 100, 80), (0, 0, 99, 79)),
        ((5.5, 5.5, 1.5, 3), (5.5, 5.5, 0.5, 2)),
    ],
)
def test_boxes_are_clipped_as_the_official_loader_does(box, clipped):
    assert clip_box(box, 100, 80) == clipped


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"iscrowd": 1}, "crowd"),
        ({"bbox": [10, 20, -41, 31]}, "negative box"),
        ({"bbox": [10, 20, 1, 31]}, "box empty after clipping"),
        ({"bbox": [200, 20, 41, 31]}, "box empty after clipping"),
        ({"bbox": [10, 20, 41]}, "box is not four finite numbers"),
        ({"bbox": [10, 20, float("nan"), 31]}, "box is not four finite numbers"),
        ({"bbox": []}, "box is not four finite numbers"),
        ({"area": 0}, "area not positive"),
        ({"keypoints": [0] * 9}, "no visible keypoints"),
        ({"keypoints": [7, 8, 0] * 3, "num_keypoints": 0}, "no visible keypoints"),
        ({"num_keypoints": 0}, "num_keypoints is 0, yet keypoints are visible"),
        ({"keypoints": [1] * 12}, "number of keypoints differs from the category's"),
        ({"keypoints": [1] * 8}, "keypoints are not triples of finite numbers"),
        ({"keypoints": [[1, 2, 2]] * 3}, "keypoints are not triples of finite numbers"),
        ({"image_id": 5}, "image not listed"),
        ({"category_id": 5}, "category not listed"),
    ],
)
def test_what_the_official_rule_drops_is_counted_by_reason(mp100, change, reason):
    annotations = [mp100.annotation(), mp100.annotation(12, **change)]
    reading = read(mp100, annotations=annotations)
    assert [i.id for i in reading.part.instances[2]] == [11]
    assert [(f.reason, f.annotation) for f in reading.dropped] == [(reason, 12)]


def test_an_annotation_without_area_crowd_flag_or_count_is_kept(mp100):
    bare = mp100.annotation()
    for key in ("area", "iscrowd", "num_keypoints"):
        del bare[key]
    assert len(read(mp100, annotations=[bare]).part) == 1


def test_invisible_keypoints_may_carry_coordinates(mp100):
    reading = read(mp100, annotations=[mp100.annotation(keypoints=[15, 25, 1, 7, 8, 0, 0, 0, 0])])
    (instance,) = reading.part.instances[2]
    assert instance.visible.tolist() == [True, False, False]
    assert instance.xy[1].tolist() == [7, 8]
    assert reasons(reading.quirks)["invisible keypoint with coordinates"] == 1


def test_keypoints_outside_the_image_are_kept_as_they_are(mp100):
    reading = read(mp100, annotations=[mp100.annotation(keypoints=[-3, 25, 2, 20, 90, 2, 1, 1, 0])])
    assert reading.part.instances[2][0].xy[:2].tolist() == [[-3, 25], [20, 90]]
    found = reasons(reading.quirks)
    assert found["keypoint outside the image"] == found["keypoint outside the box"] == 1


def test_ids_that_a_float_would_merge_stay_apart(mp100):
    one, two = 91 * 10**14, 91 * 10**14 + 1
    assert float(one) == float(two)
    images = [mp100.image(one, "horse_body/one.jpg"), mp100.image(two, "horse_body/two.jpg")]
    annotations = [mp100.annotation(two, two), mp100.annotation(one, one)]  # and each id equals its image's
    reading = read(mp100, images=images, annotations=annotations)
    group = reading.part.instances[2]
    assert [(i.id, i.image_id, i.file_name) for i in group] == [
        (one, one, "horse_body/one.jpg"),
        (two, two, "horse_body/two.jpg"),
    ]
    assert all(type(i.id) is int and type(i.image_id) is int for i in group)
    assert reasons(reading.quirks)["id above 2^53"] == 2
    assert reasons(reading.quirks)["annotation id equals image id"] == 2


def test_ids_written_as_floats_are_refused(mp100):
    path = mp100.write(annotations=[mp100.annotation(9.1e15)])
    with pytest.raises(UserError, match=r"'id' of annotations\[0\] is 9100000000000000"):
        read_file(path, 1, "test")


def test_instances_follow_the_order_of_images_then_annotations(mp100):
    images = [mp100.image(2), mp100.image(1), mp100.image(3)]
    annotations = [mp100.annotation(id, image) for id, image in ((20, 1), (21, 3), (22, 2), (23, 1), (24, 2))]
    reading = read(mp100, images=images, annotations=annotations)
    assert [i.id for i in reading.part.instances[2]] == [22, 24, 20, 23, 21]
    assert reasons(reading.quirks)["several annotations in the image"] == 4


def test_an_annotation_id_that_occurs_twice_gives_one_instance(mp100):
    reading = read(mp100, annotations=[mp100.annotation(), mp100.annotation()])
    assert len(reading.part) == 1
    assert reasons(reading.dropped) == {"id occurs twice": 1}


# Files


def test_gzipped_files_read_alike_whatever_they_are_called(mp100):
    plain, packed = mp100.write(), mp100.write(name="mp100_split1_val.json.gz")
    renamed = mp100.folder / "mp100_split2_val.json"
    renamed.write_bytes(packed.read_bytes())
    assert [len(read_part(path, 1, "test")) for path in (plain, packed, renamed)] == [1, 1, 1]


def test_synthetic_files_say_so_unless_told_otherwise(mp100):
    path = mp100.write(info={"description": "drawn", "capetune": "synthetic"})
    assert read_part(path, 1, "test").synthetic is True
    assert read_part(path, 1, "test", synthetic=False).synthetic is False


def test_files_are_found_by_split_and_part_and_plain_ones_go_first(mp100):
    mp100.write(name="mp100_split2_val.json.gz")
    mp100.write(name="mp100_split1_test.json")
    mp100.write(name="mp100_split1_test.json.gz")
    for stray in ("mp100_split6_test.json", "mp100_split1_all.json", "notes.txt", "mp100_split1_val.json.bak"):
        (mp100.folder / stray).write_text("{}")
    found = {key: path.name for key, path in find_files(mp100.folder).items()}
    assert found == {(1, "test"): "mp100_split1_test.json", (2, "val"): "mp100_split2_val.json.gz"}


def test_a_folder_that_is_not_mp100_is_said_with_its_cure(mp100):
    with pytest.raises(UserError, match=r"is not a folder"):
        find_files(mp100.folder / "absent")
    with pytest.raises(UserError, match=r"no mp100_split.*give the folder"):
        find_files(mp100.folder)
    (mp100.folder / "annotations").mkdir()
    mp100.write(name="annotations/mp100_split1_test.json")
    with pytest.raises(UserError, match=r"did you mean .*annotations\?"):
        find_files(mp100.folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not JSON"),
        (b"{'a': 1}", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (gzip.compress(b'{"images": []}', mtime=0)[:-9], "can't be read"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "holds no JSON object"),
        (b"{}", "no list 'images'"),
        (b'{"images": {}, "annotations": [], "categories": []}', "no list 'images'"),
        (b'{"images": [3], "annotations": [], "categories": []}', r"images\[0\] is not an object"),
        (
            b'{"images": [], "annotations": [], "categories": [{"id": 1, "name": "x", "keypoints": 9876543210}]}',
            r"categories\[0\] has 9876543210 keypoints",
        ),
        (b'{"images": [{"id": 1}], "annotations": [], "categories": []}', r"'file_name' of images\[0\] is missing"),
    ],
)
def test_a_broken_file_is_named_with_a_cure(mp100, content, said):
    path = mp100.folder / "mp100_split1_test.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said) as error:
        read_file(path, 1, "test")
    assert str(path) in str(error.value)
    assert ";" in str(error.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_file_crashes_the_reader_whatever_stands_in_one_place(mp100, data):
    path = mp100.write(categories=[mp100.category(skeleton=[[1, 2]])])
    document = json.loads(path.read_text())
    node = document
    while True:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        key = data.draw(st.sampled_from(list(keys)))
        if not (isinstance(node[key], (dict, list)) and node[key]) or data.draw(st.integers(0, 4)) == 0:
            break
        node = node[key]
    if data.draw(st.booleans()) and isinstance(node, dict):
        del node[key]
    else:
        node[key] = data.draw(JSON)
    path.write_text(json.dumps(document))
    try:
        reading = survey(mp100.folder).readings[1, "test"]
    except UserError:
        return
    said(noted(reading.dropped), noted(reading.doubts))
    for category in reading.part.categories:
        for instance in reading.part.instances[category.id]:
            assert instance.xy.shape == (category.graph.size, 2)
            assert np.isfinite(instance.xy).all()
            assert (instance.box[2:] > 0).all()
