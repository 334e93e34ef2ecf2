"""COCO files as CVAT ("COCO Keypoints 1.0") and others export them."""

import json

import pytest

from capetune.datasets.labels.convert import convert
from capetune.errors import UserError


@pytest.fixture
def tree(truth):
    """Without ids of annotations, with images' ids as text, no sizes, and pictures by their file's name only."""
    images = list(dict.fromkeys(one.picture for one in truth.objects))
    return {
        "images": [{"id": f"i{n}", "file_name": path.split("/")[1]} for n, path in enumerate(images)],
        "categories": [
            {"id": n, "name": name, "keypoints": keypoints, "skeleton": [[i + 1, j + 1] for i, j in truth.edges[name]]}
            for n, (name, keypoints) in enumerate(truth.names.items())
        ],
        "annotations": [
            {
                "image_id": f"i{images.index(one.picture)}",
                "category_id": list(truth.names).index(one.category),
                "keypoints": [value for point in one.points for value in point],
                "bbox": list(one.box),
                "iscrowd": 0,
                "segmentation": [],
            }
            for one in truth.objects
        ],
    }


@pytest.fixture
def write(tree, tmp_path):
    def make(name="export.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(tree))
        return tmp_path / name

    return make


def test_an_export_is_kept_whole(write, kept, pictures):
    made = kept(write(), pictures)
    assert (made.format, made.guessed, made.lost, made.absent) == ("coco", True, {}, ())


def test_several_files_of_a_folder_are_one(write, kept, pictures, tree, tmp_path):
    """Ids begin anew in each."""
    whole = dict(tree)
    tree["annotations"] = whole["annotations"][:5]
    write("annotations/a.json")
    tree["annotations"] = whole["annotations"][5:]
    file = write("annotations/b.json")
    assert kept(file.parent, pictures).shared == tuple(f"day one/{n}.png" for n in range(6))


def test_what_can_t_be_kept_is_counted_and_named(write, pictures, tree, tmp_path):
    first, second, third, fourth, fifth = tree["annotations"][:5]
    first["iscrowd"] = 1
    second.pop("keypoints")
    third["category_id"] = 77
    fourth["image_id"] = 77
    fifth["segmentation"] = [[1, 2, 3, 4, 5, 6]]
    tree["annotations"][6]["keypoints"][:2] = [None, None]
    tree["images"][5]["file_name"] = "gone.png"
    file = write()
    made = convert(file, tmp_path / "out", images=pictures)
    assert made.lost == {
        "picture without a size that isn't there or can't be read, with its labels": ("gone.png",),
        "crowd": ("day one/0.png",),
        "annotation without keypoints": ("day one/1.png",),
        "annotation of a category that isn't listed": (f"{file}, annotations[2]",),
        "annotation of an image that isn't listed": (f"{file}, annotations[3]",),
        "outline of an object": ("day one/4.png",),
        "keypoint without coordinates": ("horn at day one/0.png",),
    }


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda tree: tree.pop("categories"), "export.json, categories: Field required"),
        (lambda tree: tree["annotations"][3].pop("image_id"), "export.json, annotations[3].image_id: Field required"),
        (lambda tree: tree["annotations"][3]["keypoints"].pop(), "annotations[3]: 11 numbers for 4 keypoints of 'fly'"),
        (lambda tree: tree["annotations"][3].update(bbox=[1, 2]), "annotations[3]: bbox has 2 numbers, not 4"),
        (lambda tree: tree["images"].append(tree["images"][0]), "export.json: image id i0 stands twice"),
        (lambda tree: tree["categories"].append(tree["categories"][0]), "category id 0 stands twice"),
        (lambda tree: tree["categories"][0].update(keypoints=["a", "a", "b", "c"]), "keypoint name 'a' of 'fly'"),
    ],
)
def test_a_broken_file_is_one_line_with_its_place(write, pictures, tree, tmp_path, spoil, words):
    spoil(tree)
    with pytest.raises(UserError) as caught:
        convert(write(), tmp_path / "out", "coco", pictures)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
