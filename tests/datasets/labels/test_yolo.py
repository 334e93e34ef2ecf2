"""Data sets as Ultralytics documents them for pose, with its names of folders and with Roboflow's."""

import json

import pytest

from capetune.datasets.labels.convert import convert
from capetune.errors import UserError


@pytest.fixture
def flies(truth):
    """YOLO has one number of keypoints for all classes."""
    return [one for one in truth.objects if one.category == "fly"]


@pytest.fixture
def write(flies, truth, pictures, tmp_path):
    """images/train and images/val with labels/ beside, and a data.yaml."""

    def make(yaml=None, dims=3, names=True, folders="images/{}", labels="labels/{}", change=lambda line: line):
        root = tmp_path / "data"
        for one in flies:
            part = "val" if one.picture.endswith("5.png") else "train"
            stem = one.picture.split("/")[1].removesuffix(".png")
            left, top, width, height = one.box
            numbers = [1, (left + width / 2) / truth.width, (top + height / 2) / truth.height]
            numbers += [width / truth.width, height / truth.height]
            for x, y, v in one.points:
                numbers += [x / truth.width, y / truth.height, v][:dims]
            for folder in (folders, labels):
                (root / folder.format(part)).mkdir(parents=True, exist_ok=True)
            (root / folders.format(part) / f"{stem}.png").symlink_to(pictures / one.picture)
            line = " ".join(f"{number:.6f}".rstrip("0").rstrip(".") for number in numbers)
            (root / labels.format(part) / f"{stem}.txt").write_text(change(line) + "\n")
        default = f"path: /somewhere/else/data\ntrain: {folders.format('train')}\nval: {folders.format('val')}\n"
        called = "kpt_names:\n  0: [a, b, c, d]\n  1: [head, left wing, right wing, tail]\n" if names else ""
        classes = "names:\n  0: moth\n  1: fly\n"
        text = f"{yaml or default}kpt_shape: [4, {dims}]\nflip_idx: [0, 2, 1, 3]\n{called}{classes}"
        (root / "data.yaml").write_text(text)
        return root

    return make


def test_a_data_set_is_kept_whole_but_for_edges_which_it_hasn_t(write, kept, flies, truth):
    """Six digits of a 96th of a pixel."""
    made = kept(write(), wanted=flies, names={"fly": truth.names["fly"]}, edges=False)
    assert (made.format, made.guessed, made.lost, made.absent, made.notes) == ("yolo", True, {}, (), ())


def test_roboflow_s_layout_with_paths_that_lead_out(write, kept, flies, truth):
    root = write("train: ../train/images\nval: ../val/images\n", folders="{}/images", labels="{}/labels")
    made = kept(root / "data.yaml", wanted=flies, names={"fly": truth.names["fly"]}, edges=False)
    assert made.lost == {}


def test_a_part_that_isn_t_there_is_named_and_the_others_are_kept(write, kept, flies, truth):
    """Roboflow writes `test:` also where it exports no such part."""
    yaml = "train: ../train/images\nval: ../val/images\ntest: ../test/images\n"
    root = write(yaml, folders="{}/images", labels="{}/labels")
    made = kept(root, wanted=flies, names={"fly": truth.names["fly"]}, edges=False)
    assert made.lost == {"part that isn't there": ("../test/images of data.yaml",)}


def test_lists_of_pictures_and_numbers_for_names(write, kept, flies, truth):
    root = write("path: .\ntrain: train.txt\nval: [val.txt]\n", names=False)
    (root / "train.txt").write_text("".join(f"./images/train/{n}.png\n" for n in range(4)) + "images/train/4.png\n")
    (root / "val.txt").write_text("images/val/5.png\n")
    made = kept(root, wanted=flies, names={"fly": ["0", "1", "2", "3"]}, edges=False)
    assert made.notes == ("data.yaml has no kpt_names: keypoints are called by their numbers, 0 to 3",)


def test_without_visibility_a_keypoint_in_the_corner_is_unlabelled(write, kept, flies, truth):
    kept(write(dims=2), wanted=flies, names={"fly": truth.names["fly"]}, edges=False, hidden=False)


def test_what_can_t_be_kept_is_counted_and_named(write, tmp_path):
    root = write()
    (root / "labels/train/0.txt").write_text("1 0.5 0.5 0.25 0.25\n\n0 .5 .5 .2 .2 0 0 0 0 0 0 0 0 0 0 0 0\n")
    (root / "labels/train/1.txt").unlink()
    (root / "images/train/2.png").unlink()
    (root / "images/train/2.png").write_bytes(b"")
    (root / "other.yaml").write_text("a: 1\n")
    made = convert(root, tmp_path / "out", "yolo")
    assert made.lost == {
        "yaml file without kpt_shape": ("other.yaml",),
        "box without keypoints": ("images/train/0.png",),
        "object without a labelled keypoint": (f"{root}/labels/train/0.txt, line 3",),
        "picture that isn't there or can't be read, with its labels": ("images/train/2.png",),
    }
    tree = json.loads(made.file.read_text())
    assert [image["file_name"] for image in tree["images"]] == [
        *(f"images/train/{n}.png" for n in (0, 1, 3, 4)),
        "images/val/5.png",
    ]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"change": lambda line: line + " 0.5"}, "0.txt, line 1: 18 numbers, not 17, as kpt_shape [4, 3] says"),
        ({"change": lambda line: line.replace(" ", " x", 1)}, "0.txt, line 1: not all of it are numbers"),
        ({"change": lambda line: "7" + line[1:]}, "0.txt, line 1: class 7 isn't one of names"),
        ({"yaml": "train: images/nowhere\n"}, "data.yaml: images/nowhere isn't below"),
        ({"yaml": "train: labels/train\n"}, "data.yaml: there is no picture in its train, val and test"),
        ({"yaml": "kpt_names: [a, b]\n", "names": False}, "kpt_names has 2 names for class 0, kpt_shape says 4"),
        ({"yaml": "train: [1]\n"}, "data.yaml, train"),
        ({"yaml": "train: 'a\n"}, "data.yaml, line"),
    ],
)
def test_a_broken_file_is_one_line_with_its_place(write, tmp_path, made, words):
    root = write(**made)
    with pytest.raises(UserError) as caught:
        convert(root / "data.yaml", tmp_path / "out")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
