import json

import pytest

from capetune.datasets.mp100.gather import gather, survey
from capetune.errors import UserError

POSE = {"bbox": [1, 2, 30, 20], "keypoints": [3, 4, 2, 5, 6, 1], "num_keypoints": 2}


def write(folder, name, category, annotations=1, pose=POSE):
    image = {"id": 1, "file_name": "a_body/1.jpg", "width": 64, "height": 48}
    notes = [{"id": 10, "image_id": 1, "category_id": 3, **pose}] * annotations
    tree = {"images": [image], "annotations": notes, "categories": [{"id": 3, "name": "a", **category}]}
    (folder / f"mp100_split{name}.json").write_text(json.dumps(tree))


def test_an_instance_named_by_several_files_is_one(tmp_path):
    for name in ("1_test", "2_train", "3_train"):
        write(tmp_path, name, {"keypoints": ["x", "y"], "skeleton": []})
    gathered = gather(tmp_path)
    assert list(gathered.readings) == [(1, "test"), (2, "train"), (3, "train")]
    assert list(gathered.instances) == [10]
    assert list(gathered.categories) == [3]


def test_a_skeleton_in_one_release_serves_all(tmp_path):
    write(tmp_path, "1_test", {"keypoints": ["x", "y"], "skeleton": []})
    write(tmp_path, "2_test", {"keypoints": ["x", "y"], "skeleton": [[1, 2]]})
    assert gather(tmp_path).categories[3].graph.edges == ((0, 1),)


def test_the_number_of_keypoints_may_be_known_from_another_file_only(tmp_path):
    write(tmp_path, "1_test", {"keypoints": [], "skeleton": []}, annotations=0)
    write(tmp_path, "2_test", {"keypoints": [], "skeleton": []})
    assert gather(tmp_path).categories[3].graph.size == 2


def test_files_that_disagree_about_a_category_are_refused(tmp_path):
    write(tmp_path, "1_test", {"keypoints": ["x", "y"], "skeleton": []})
    pose = {**POSE, "keypoints": [*POSE["keypoints"], 7, 8, 2]}
    write(tmp_path, "2_test", {"keypoints": ["x", "y", "z"], "skeleton": []}, pose=pose)
    with pytest.raises(UserError, match=r"category 3 is 'a' with 2 keypoints in mp100_split1_test.json and 'a' with 3"):
        gather(tmp_path)


def test_real_files_of_two_splits_agree(real_annotations):
    gathered = gather(real_annotations)
    listed = sum(len(reading.part) for reading in gathered.readings.values())
    assert len(gathered.readings) == 4
    assert len(gathered.instances) == listed - 1097  # the instances that two of the files share
    assert len(gathered.categories) == 50


def test_what_contradicts_itself_is_told_once_for_each_pair_of_files(tmp_path):
    for name, x in (("1_test", 1), ("2_test", 2), ("3_test", 3)):
        write(tmp_path, name, {"keypoints": ["x", "y"], "skeleton": []}, pose={**POSE, "bbox": [x, 2, 30, 20]})
    found = survey(tmp_path)
    assert [line.split(": ")[0] for line in found.contradictions] == [
        f"annotation 10 differs between mp100_split1_test.json and mp100_split{n}_test.json" for n in (2, 3)
    ]
    assert found.instances[10].box[0] == 1, "the first is believed"


def test_a_count_contradicts_no_names(tmp_path):
    write(tmp_path, "1_test", {"keypoints": 2, "skeleton": []})
    write(tmp_path, "2_test", {"keypoints": ["1", "0.5"], "skeleton": []})
    found = survey(tmp_path)
    assert (found.contradictions, found.doubts) == ((), ())
