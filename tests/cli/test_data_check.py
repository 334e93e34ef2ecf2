from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from capetune.cli.main import app, run
from capetune.datasets.synthetic.generate import generate

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


def invoke(*arguments):
    return CliRunner().invoke(app, ["data", "check", *map(str, arguments)], catch_exceptions=False)


def there(name):
    if not (SHARED / name).is_dir():
        pytest.skip(f"no ../shared/data/{name} beside this checkout")
    return SHARED / name


@pytest.fixture
def folder(tmp_path):
    """Two categories with an image of the first, a third one without annotations."""
    pose = {"bbox": [1, 2, 30, 20], "keypoints": [3, 4, 2, 5, 6, 1], "num_keypoints": 2, "iscrowd": 0, "area": 600}
    names = {2: "horse_body", 18: "face", 78: "long_sleeved_outwear"}
    images = [{"id": n, "file_name": f"{names[n]}/1.jpg", "width": 64, "height": 48} for n in (2, 18)]
    document = {
        "images": images,
        "annotations": [{"id": 10 + n, "image_id": n, "category_id": n, **pose} for n in (2, 18)],
        "categories": [{"id": n, "name": name, "keypoints": [], "skeleton": [[0, 1]]} for n, name in names.items()],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "mp100_split1_test.json").write_text(json.dumps(document))
    (tmp_path / "images" / "horse_body").mkdir(parents=True)
    Image.new("RGB", (64, 48)).save(tmp_path / "images" / "horse_body" / "1.jpg")
    return tmp_path


def exit_of(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["capetune", "data", "check", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        run()
    return stop.value.code


def test_the_table_names_what_is_there_and_what_is_missing(folder):
    result = invoke("--annotations", folder / "annotations", "--images", folder / "images")
    assert result.exit_code == 0, "missing images are reported, not an error"
    for said in (
        "1 of 100 categories; 2 instances in 1 files; data: real",
        "images: 1 found, 1 missing, 0 unreadable",
        "`capetune data doctor` looks for missing images in the downloads, and says where to get them",
        "image missing: 1 image with 1 instance left out: face/1.jpg",
        "listed but empty: long_sleeved_outwear (78)",
        "99 categories of MP-100 are missing:",
        "AFLW, no image found: face (18)",
        "OneHand10K, not in the annotation files: hand (80)",
        "1 (0-based)",
        "test 1",
    ):
        assert said in result.stdout


def test_without_images_none_are_spoken_of(folder):
    result = invoke("--annotations", folder / "annotations")
    assert result.exit_code == 0
    assert "2 of 100 categories" in result.stdout
    assert "unreadable" not in result.stdout


def test_of_another_data_set_the_categories_of_mp100_are_not_named(tmp_path):
    generate(tmp_path, categories=10, images=1, size=64)
    lines = invoke("--annotations", tmp_path / "annotations").stdout
    assert "0 of 100 categories, and 10 that are not in MP-100" in lines
    assert "missing" not in lines


def test_json_is_one_document_alone_on_stdout(folder):
    result = invoke("--annotations", folder / "annotations", "--images", folder / "images", "--json")
    document = json.loads(result.stdout)
    assert document["totals"]["recovered"] == 1
    assert document["totals"]["images"] == {"found": 1, "missing": 1, "unreadable": 0, "unfit": 0}
    assert document["left_out"]["image missing"] == {
        **{"files": ["face/1.jpg"], "instances": 1, "ids": [28], "categories": [], "details": {}}
    }
    assert (document["doubtful"], document["contradictions"], document["unread"]) == ({}, [], [])
    assert document["missing_images"] == ["face/1.jpg"]
    assert {row["id"]: row["images"]["found"] for row in document["categories"]} == {2: 1, 18: 0, 78: 0}


def test_a_wrong_images_folder_gets_a_hint(folder):
    assert "did you mean --images" in invoke("--annotations", folder / "annotations", "--images", folder).stdout


@pytest.mark.parametrize("content", [None, "", "[]", '{"images": [], "annotations": []}', "\0\0"])
def test_a_folder_that_is_not_mp100_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, content):
    if content is not None:
        (tmp_path / "mp100_split1_test.json").write_text(content)
    assert exit_of(monkeypatch, "--annotations", tmp_path) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1


def test_an_absent_folder_is_one_line_and_exit_code_2(folder, monkeypatch, capsys):
    assert exit_of(monkeypatch, "--annotations", folder / "nowhere") == 2
    assert exit_of(monkeypatch, "--annotations", folder / "annotations", "--images", folder / "nowhere") == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_the_help_has_examples():
    result = invoke("--help")
    assert "capetune data check --annotations" in result.stdout


@pytest.mark.parametrize(
    ("name", "images", "said"),
    [
        ("mp100-annotations", None, "50 of 100 categories; 6903 instances in 4 files"),
        ("mp100-annotations/cleaned", None, "28 of 100 categories; 3595 instances in 2 files"),
        ("mp100-real-images/annotations", "mp100-real-images/images", "images: 223 found, 0 missing, 0 unreadable"),
    ],
)
def test_the_real_folders(name, images, said):
    more = () if images is None else ("--images", there(images))
    result = invoke("--annotations", there(name), *more)
    assert result.exit_code == 0
    assert said in result.stdout


def test_what_a_pack_would_leave_out_or_refuse_is_said(folder):
    file = folder / "annotations" / "mp100_split1_test.json"
    tree = json.loads(file.read_text())
    (folder / "annotations" / "mp100_split2_test.json").write_text(json.dumps(tree))
    (folder / "annotations" / "mine.json").write_text("{}")
    tree["annotations"][0]["category_id"] = 5
    tree["annotations"][1]["bbox"][0] = 0
    file.write_text(json.dumps(tree))
    lines = invoke("--annotations", folder / "annotations").stdout.splitlines()
    assert "1 annotation dropped, by the official rule or because they can't be used" in lines
    assert "category not listed: 1 annotation left out: 12 (category 5)" in lines
    assert "1 json file of other names, not read: mine.json" in lines
    [refused] = [line for line in lines if line.startswith("a pack is refused")]
    assert "annotation 28 differs between mp100_split1_test.json and mp100_split2_test.json: ids must" in refused


def test_names_are_shown_as_they_are_written(folder):
    file = folder / "annotations" / "mp100_split1_test.json"
    tree = json.loads(file.read_text())
    tree["categories"][0]["name"] = "gear [/old] [left] 歯車 <b>"
    file.write_text(json.dumps(tree))
    result = invoke("--annotations", folder / "annotations")
    assert result.exit_code == 0
    assert "gear [/old] [left] 歯車 <b>" in result.stdout
