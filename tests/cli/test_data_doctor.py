"""What the command prints, writes and ends with; what is found is tested beside the finder."""

from __future__ import annotations

import json
import shlex
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from capetune.cli.main import app, run


def invoke(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def folder(tmp_path):
    """Two horses and a fox of AP-10K, one of them gone, and a vest of DeepFashion2's, of which there is nothing."""
    pose = {"bbox": [1, 2, 30, 20], "keypoints": [3, 4, 2, 5, 6, 1], "num_keypoints": 2, "iscrowd": 0, "area": 600}
    names = {2: ["horse_body/000000026602.jpg", "horse_body/000000026603.jpg"], 68: ["fox_body/000000017645.jpg"]}
    names |= {62: ["vest/000012.jpg", "vest/000013.jpg"]}
    images = [
        {"id": 10 * id + n, "file_name": name, "width": 64, "height": 48}
        for id, group in names.items()
        for n, name in enumerate(group)
    ]
    document = {
        "images": images,
        "annotations": [
            {"id": image["id"], "image_id": image["id"], "category_id": image["id"] // 10, **pose} for image in images
        ],
        "categories": [
            {"id": id, "name": group[0].split("/")[0], "keypoints": ["a", "b"]} for id, group in names.items()
        ],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/mp100_split1_test.json").write_text(json.dumps(document))
    (tmp_path / "my data/ap-10k/data").mkdir(parents=True)
    for number in (26602, 17645):
        Image.new("RGB", (64, 48), (number % 250,) * 3).save(tmp_path / f"my data/ap-10k/data/{number:012d}.jpg")
    return tmp_path


def doctor(folder, *more):
    return "data", "doctor", "--annotations", folder / "annotations", "--images", folder / "my data", *more


def test_it_says_what_is_there_what_is_missing_and_what_to_do_next(folder):
    result = invoke(*doctor(folder))
    assert result.exit_code == 0, "missing images are reported, not an error"
    for said in (
        "2 of 100 categories of MP-100; missing: DeepFashion2 (all 13), AP-10K (dog_body, panda_body, ham",
        "images: 0 in place, 2 elsewhere, 3 missing",
        "image missing: 3 images with 3 instances left out: horse_body/000000026603.jpg, vest/000012.jpg, vest/00001",
        "DeepFashion2 lacks 2 images: get train.zip from its page, and the password from its authors",
        "  beware: validation/image and test/image have other pictures of the same names",
        "AP-10K lacks 1 image: get ap-10k.zip from its page",
    ):
        assert said in result.stdout
    assert result.stdout.splitlines()[-1].endswith("--link DIR  # 2 images, DIR a new folder")


def test_the_next_command_is_the_one_that_cures_most(folder):
    (folder / "my data/ap-10k/data/000000017645.jpg").unlink()
    last = invoke(*doctor(folder)).stdout.splitlines()[-1]
    assert last.endswith("--source AP-10K=PATH  # 2 images, PATH being where AP-10K was unpacked")
    given = invoke(*doctor(folder, "--source", f"AP-10K={folder / 'my data/ap-10k'}")).stdout.splitlines()
    assert any(line.startswith("AP-10K lacks 2 images: not in ") for line in given)
    assert "--source DeepFashion2=PATH  # 2 images" in given[-1]


def test_the_commands_it_names_work_and_end_in_a_pack(folder):
    named = invoke(*doctor(folder)).stdout.splitlines()[-1].removeprefix("next: ")
    command = [word.replace("DIR", str(folder / "images")) for word in shlex.split(named, comments=True)]
    assert command[0] == "capetune"
    dry = invoke(*command[1:], "--dry-run")
    assert "2 images would be laid there; nothing was written" in dry.stdout
    assert "images/horse_body/000000026602.jpg ← " in dry.stdout
    assert not (folder / "images").exists()
    laid = invoke(*command[1:])
    assert f"{folder / 'images'}: 2 hard links\n" in laid.stdout
    packing = shlex.split(laid.stdout.splitlines()[-1].removeprefix("next: "))
    assert invoke(*packing[1:-1], folder / "shards").exit_code == 0
    assert "images: 2 in place, 0 elsewhere, 3 missing" in invoke(*command[1:5], "--images", folder / "images").stdout


def test_a_renamed_folder_of_a_category_of_ones_own_has_a_cure_that_works(folder):
    for file in (folder / "annotations").iterdir():
        file.write_text(file.read_text().replace("fox_body", "my_crab").replace('"id": 68,', '"id": 101,'))
        file.write_text(file.read_text().replace('"category_id": 68', '"category_id": 101'))
    (folder / "my data/crabs").mkdir()
    (folder / "my data/ap-10k/data/000000017645.jpg").rename(folder / "my data/crabs/000000017645.jpg")
    before = invoke(*doctor(folder)).stdout
    assert "1 ambiguous" in before
    assert "my_crab is of none of MP-100's sources: if those are its pictures, call their folder my_crab\n" in before
    (folder / "my data/crabs").rename(folder / "my data/my_crab")
    after = invoke(*doctor(folder)).stdout
    assert "images: 1 in place, 1 elsewhere, 3 missing\n" in after
    assert "none of MP-100's sources" not in after


def test_json_is_one_document_alone_on_stdout(folder):
    document = json.loads(invoke(*doctor(folder, "--json", "--link", folder / "images")).stdout)
    assert document["totals"]["missing"] == 3
    assert document["mp100"]["there"] == 2
    assert document["lacks"]["DeepFashion2"]["images"] == 2
    assert document["faults"]["image missing"]["instances"] == 3
    assert document["where"]["fox_body/000000017645.jpg"].endswith("ap-10k/data/000000017645.jpg")
    assert document["link"] == {"hard": 2, "symbolic": 0, "copied": 0, "written": 0, "there": 0}
    assert {row["id"]: row["pictures"]["elsewhere"] for row in document["categories"]} == {2: 1, 62: 0, 68: 1}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--dry-run"], "--dry-run is for --link DIR"),
        (["--source", "AP-11K=."], "did you mean AP-10K?"),
        (["--images", "nowhere"], "nowhere is not a folder"),
        (["--annotations", "."], "no mp100_split"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(folder, monkeypatch, capsys, more, said):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["capetune", *map(str, doctor(folder, *more))])
    with pytest.raises(SystemExit) as stop:
        run()
    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert printed.err.count("\n") == 1


def test_where_nothing_is_left_to_get_and_nothing_is_found_no_pack_is_advised(folder):
    (folder / "empty").mkdir()
    given = [word for name in ("AP-10K", "DeepFashion2") for word in ("--source", f"{name}={folder / 'empty'}")]
    result = invoke(*doctor(folder, "--images", folder / "empty", *given))
    assert result.stdout.splitlines()[-1].startswith(
        "next: give --images or --source NAME=PATH a folder of the downloads"
    )


def test_nothing_is_laid_where_nothing_was_found(folder, monkeypatch, capsys):
    (folder / "empty").mkdir()
    arguments = ["--images", folder / "empty", "--link", folder / "images"]
    monkeypatch.setattr(sys, "argv", ["capetune", *map(str, doctor(folder, *arguments))])
    with pytest.raises(SystemExit) as stop:
        run()
    assert stop.value.code == 2
    assert "there is nothing to lay" in capsys.readouterr().err
    assert not (folder / "images").exists()
