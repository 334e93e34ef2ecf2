"""What annotation tools export, several files of it, as one data set."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capetune.datasets.mp100.exports import EMPTY, SHARED, read_exports
from capetune.datasets.mp100.findings import noted, said
from capetune.errors import UserError


@pytest.fixture
def export(tmp_path):
    """export(name, ids of its pictures, …) writes a COCO file whose ids begin at 1, of objects of one category; what
    stands in the pose is the picture's number."""

    def write(name, numbers, category="wing", keypoints=("a", "b", "c"), category_id=1, **more):
        images = [
            {"id": id, "file_name": f"{number:03}.jpg", "width": 640, "height": 480}
            for id, number in enumerate(numbers, start=1)
        ]
        annotations = [
            {"id": id, "image_id": id, "category_id": category_id, "bbox": [10, 20, 100, 90], **more}
            | {"keypoints": [number, 30, 2, 50, 60, 2, 70, 80, 1][: 3 * len(keypoints)]}
            for id, number in enumerate(numbers, start=1)
        ]
        entry = {"id": category_id, "name": category, "keypoints": list(keypoints), "skeleton": [[1, 2]]}
        tree = {"images": images, "annotations": annotations, "categories": [entry]}
        (tmp_path / name).write_text(json.dumps(tree))
        return tmp_path / name

    return write


def poses(read):
    return sorted((read.categories[i.category_id].name, i.file_name, i.xy.tolist()) for i in read.instances)


def test_of_one_file_ids_stay(export):
    read = read_exports([export("a.json", [4, 9])])
    assert [(i.id, i.image_id, i.category_id, i.file_name) for i in read.instances] == [
        (1, 1, 1, "004.jpg"),
        (2, 2, 1, "009.jpg"),
    ]
    assert read.categories[1].graph.names == ("a", "b", "c")
    assert read.categories[1].graph.edges == ((0, 1),)
    assert (read.dropped, read.doubts, read.notes) == ((), (), ())


def test_ids_that_begin_again_are_numbered_anew_and_it_is_said(export):
    read = read_exports([export("a.json", [1, 2, 3]), export("b.json", [4, 5]), export("c.json", [6], "leg")])
    assert [i.id for i in read.instances] == [1, 2, 3, 4, 5, 6]
    assert [i.image_id for i in read.instances] == [1, 2, 3, 4, 5, 6]
    assert [i.category_id for i in read.instances] == [1, 1, 1, 1, 1, 2]
    assert read.notes == (
        "b.json: 2 annotations, 2 images numbered anew, to fit the files before it",
        "c.json: 1 category, 1 annotation, 1 image numbered anew, to fit the files before it",
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sets(st.integers(0, 12), min_size=1), min_size=1, max_size=4), st.data())
def test_however_it_is_exported_each_pose_is_there_once_and_ids_are_one_thing_s(export, groups, data):
    names = [data.draw(st.sampled_from(["wing", "leg"])) for _ in groups]
    ids = [data.draw(st.integers(0, 5)) for _ in groups]
    files = [
        export(f"{n}.json", sorted(group), name, category_id=id)
        for n, (group, name, id) in enumerate(zip(groups, names, ids, strict=True))
    ]
    read = read_exports(files)
    wanted = {(name, number) for group, name in zip(groups, names, strict=True) for number in group}
    assert [(name, int(xy[0][0])) for name, _, xy in poses(read)] == sorted(wanted)
    assert len({i.id for i in read.instances}) == len(read.instances)
    pictures = {(i.image_id, i.file_name) for i in read.instances}
    assert len(pictures) == len({id for id, _ in pictures}) == len({file for _, file in pictures})
    assert len({category.name for category in read.categories.values()}) == len(read.categories) == len(set(names))


def test_the_same_annotation_in_two_files_is_taken_once_and_it_is_said(export):
    read = read_exports([export("monday.json", [1, 2]), export("friday.json", [1, 2, 3])])
    assert [i.file_name for i in read.instances] == ["001.jpg", "002.jpg", "003.jpg"]
    assert "2 annotations stand in several of the files alike: taken once" in read.notes


def test_one_picture_s_name_in_two_files_is_doubtful(export):
    """Two tasks may each have their frame 1."""
    read = read_exports([export("a.json", [1]), export("b.json", [1], "leg")])
    (finding,) = {f.detail for f in read.doubts if f.reason == SHARED}
    assert len(read.instances) == 2
    assert "a.json and " in finding


def test_a_missing_box_is_made_and_said_with_the_ids_it_has_here(export):
    read = read_exports([export("a.json", [1]), export("b.json", [2], bbox=None)])
    assert said({}, noted(read.doubts)) == [
        "doubtful: no box: made from the visible keypoints: 1 annotation: 2 (b.json)"
    ]
    np.testing.assert_array_equal(read.instances[1].box[:2], [2, 30])


def test_categories_without_keypoints_or_annotations_are_left_out_by_name(export):
    file = export("a.json", [1, 2])
    tree = json.loads(file.read_text())
    tree["categories"] += [{"id": 7, "name": "bicycle"}, {"id": 8, "name": "leg", "keypoints": ["x"], "skeleton": []}]
    tree["annotations"].append({"id": 9, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4]})
    file.write_text(json.dumps(tree))
    read = read_exports([file])
    assert list(read.categories) == [1]
    assert said(noted(read.dropped), noted(read.doubts)) == [
        "category without keypoints: 1 annotation left out: 9 (category 7)",
        f"doubtful: {EMPTY}: 1 category: 8 (leg)",
        "doubtful: category without keypoints: skipped: 1 category: 7 (bicycle)",
    ]


@pytest.mark.parametrize(
    ("keypoints", "words"),
    [
        (("a", "b"), r"category 'wing' has 3 keypoints in .*a\.json and 2 in .*b\.json: export both from one project"),
        (("b", "a", "c"), "keypoint 'a' of category 1, 'wing', is number 1 in a.json and number 2 in b.json"),
    ],
)
def test_files_that_disagree_about_a_category_are_refused(export, keypoints, words):
    with pytest.raises(UserError, match=words):
        read_exports([export("a.json", [1]), export("b.json", [2], keypoints=keypoints)])


def test_a_file_given_twice_is_refused(export):
    file = export("a.json", [1])
    with pytest.raises(UserError, match=r"a\.json is given twice"):
        read_exports([file, file.parent / "." / file.name])


def test_what_is_no_coco_file_is_told_so(tmp_path):
    (tmp_path / "a.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(UserError, match="is no annotation file of COCO's keypoint format: it has no list 'categories'"):
        read_exports([tmp_path / "a.json"])
