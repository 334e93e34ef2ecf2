import json
import shutil

import pytest
from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.datasets.packs.reader import open_pack
from capetune.errors import UserError


def run(*arguments):
    return CliRunner().invoke(app, ["data", "pack", *map(str, arguments)])


@pytest.fixture
def root(tiny_root, tmp_path):
    return shutil.copytree(tiny_root, tmp_path / "root")


def folders(root):
    return "--annotations", root / "annotations", "--images", root / "images"


def test_packs_and_says_what(tiny_root, tmp_path):
    result = run(*folders(tiny_root), "--out", tmp_path / "out", "--size", 96, "--shards", 5)
    assert result.exit_code == 0, result.output
    assert "280 instances of 14 categories from 252 images in 5 shards" in result.stdout
    assert "split 1: train 200 of 200, val 40 of 40, test 40 of 40" in result.stdout
    assert result.stderr == ""
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["size"], len(manifest["shards"])) == (96, 5)


def test_what_is_left_out_is_warned_of(root, tmp_path):
    shutil.rmtree(root / "images/tiny88_body")
    (root / "images/tiny90_body/004.jpg").write_bytes(b"")
    result = run(*folders(root), "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert (
        "warning: image missing: 18 images with 20 instances left out: tiny88_body/000.jpg, tiny88_body/001"
        in result.stderr
    )
    assert "and 15 more" in result.stderr
    assert "warning: image unreadable: 1 image with 1 instance left out: tiny90_body/004.jpg" in result.stderr
    assert "warning: no image at all of 1 category: tiny88 (88)" in result.stderr
    assert "split 1: train 200 of 200, val 39 of 40, test 20 of 40" in result.stdout


def test_strict_refuses(root, tmp_path):
    (root / "images/tiny90_body/004.jpg").unlink()
    result = run(*folders(root), "--out", tmp_path / "out", "--strict")
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == (
        "image missing: 1 image with 1 instance: tiny90_body/004.jpg; without --strict this is left out"
    )
    assert not (tmp_path / "out").exists()


def test_a_folder_without_annotation_files(tmp_path):
    result = run("--annotations", tmp_path, "--images", tmp_path, "--out", tmp_path / "out")
    assert isinstance(result.exception, UserError)
    assert "no mp100_split" in str(result.exception)


def test_what_the_reader_drops_or_doubts_is_said_a_line_a_reason(root, tmp_path):
    file = root / "annotations/mp100_split1_test.json"
    tree = json.loads(file.read_text())
    first, second = tree["annotations"][:2]
    first["iscrowd"], second["num_keypoints"] = 1, 99
    for other in (root / "annotations").iterdir():
        if other != file:
            other.rename(other.with_name(f"old-{other.name}"))
    file.write_text(json.dumps(tree))
    result = run(*folders(root), "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    names = "old-mp100_split1_train.json, old-mp100_split1_val.json, old-mp100_split2_test.json"
    assert result.stderr.splitlines() == [
        f"warning: crowd: 1 annotation left out: {first['id']}",
        f"warning: 14 json files of other names, not read: {names} and 11 more",
        "warning: doubtful: num_keypoints is not the number of visible keypoints: 1 annotation: "
        f"{second['id']} (says 99, {sum(v > 0 for v in second['keypoints'][2::3])} are visible)",
    ]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["left_out"]["crowd"]["ids"] == [first["id"]]
    strict = run(*folders(root), "--out", tmp_path / "strict", "--strict")
    assert str(strict.exception) == f"crowd: 1 annotation: {first['id']}; without --strict this is left out"


def test_the_help_says_what_strict_is():
    assert "Refuse where an annotation or image would be left out" in " ".join(run("--help").stdout.split())


@pytest.fixture
def coco(tiny_root, tmp_path):
    """One category of an annotation tool's export: 18 pictures, 20 instances."""
    tree = json.loads((tiny_root / "annotations/mp100_split1_val.json").read_text())
    tree["annotations"] = [a for a in tree["annotations"] if a["category_id"] == 90]
    named = {a["image_id"] for a in tree["annotations"]}
    tree["images"] = [image for image in tree["images"] if image["id"] in named]
    tree["categories"] = [c for c in tree["categories"] if c["id"] == 90]
    (tmp_path / "own.json").write_text(json.dumps(tree))
    return tmp_path / "own.json"


def test_an_export_is_split_and_packed_and_what_was_done_is_said(coco, tiny_root, tmp_path):
    out = tmp_path / "out"
    result = run("--coco", coco, "--images", tiny_root / "images", "--out", out, "--size", 64)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    first, *told = result.stdout.splitlines()
    assert first.startswith(f"{out}: 20 instances of 1 category from 18 images in 16 shards, ")
    assert told == [
        "  split 1: train 12 of 12, val 3 of 3, test 5 of 5",
        "split by pictures: the category itself is seen in training, no picture is in two parts",
        "an episode of validation can have 2 queries here, not 15: search and train with --set validation.queries=2",
    ]
    tree = json.loads((out / "manifest.json").read_text())
    assert tree["categories"][0]["keypoints"] == json.loads(coco.read_text())["categories"][0]["keypoints"]


def test_an_export_is_no_part_of_mp_100_though_it_is_called_so(coco, tiny_root, tmp_path):
    tree = json.loads(coco.read_text())
    tree["categories"][0] |= {"id": 66, "name": "fly"}
    tree["annotations"] = [a | {"category_id": 66} for a in tree["annotations"]]
    coco.write_text(json.dumps(tree))
    result = run("--coco", coco, "--images", tiny_root / "images", "--out", tmp_path / "out", "--size", 64)
    assert "MP-100" not in result.stdout
    own = open_pack(tmp_path / "out")
    assert (own.manifest.coverage, own.manifest.own, own.part(1, "test").own) == (None, "labels", True)
    for part in ("train", "val", "test"):
        (tmp_path / f"mp100_split1_{part}.json").write_text(coco.read_text())
    theirs = ("--annotations", tmp_path, "--images", tiny_root / "images", "--out", tmp_path / "theirs")
    result = run(*theirs, "--size", 64)
    assert "1 of 100 categories of MP-100" in result.stdout
    assert not open_pack(tmp_path / "theirs").part(1, "test").own


def test_several_exports_are_one_data_set_and_what_changed_is_said(coco, tiny_root, tmp_path):
    tree = json.loads(coco.read_text())
    other = {**tree, "categories": [{**tree["categories"][0], "name": "other"}]}
    for image in other["images"]:
        image["file_name"] = image["file_name"].replace("tiny90", "tiny89")
    (tmp_path / "other.json").write_text(json.dumps(other))
    result = run(
        "--coco", coco, "--coco", tmp_path / "other.json", "--images", tiny_root / "images", "--out", tmp_path / "out"
    )
    assert "warning: other.json: 1 category, 20 annotations, 18 images numbered anew, to fit the" in result.stderr
    assert "split by pictures: the categories themselves are seen in training" in result.stdout


def test_a_split_by_categories_says_what_it_asks(tiny_root, tmp_path):
    files = [
        part
        for name in ("train", "val", "test")
        for part in ("--coco", tiny_root / f"annotations/mp100_split1_{name}.json")
    ]
    result = run(*files, "--images", tiny_root / "images", "--out", tmp_path / "out", "--size", 64)
    assert result.stdout.splitlines()[2:] == [
        "split by categories: 10 to train on, 1 to validate, 3 to test, which aren't seen in training",
        "from about 70 categories on a model learns to place keypoints of others; `--by pictures` tests those that it "
        "was trained on",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give one of --annotations DIR, MP-100's files, and --coco FILE"),
        (("--annotations", "a", "--coco", "b"), "give one of --annotations DIR, MP-100's files, and --coco FILE"),
        (("--annotations", "a", "--by", "pictures"), "--by is for --coco"),
        (("--coco", "nowhere.json"), "nowhere.json does not exist; give an annotation file"),
    ],
)
def test_what_is_to_be_packed_is_one_thing(tmp_path, arguments, words):
    result = run(*arguments, "--images", tmp_path, "--out", tmp_path / "out")
    assert isinstance(result.exception, UserError)
    assert words in str(result.exception)
    assert not list(tmp_path.iterdir())
