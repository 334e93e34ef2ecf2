"""`capetune predict` and `capetune template`, on small pictures and a model that has learnt nothing."""

from __future__ import annotations

import csv
import json
import shutil

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import capetune
from capetune.cli.main import app
from capetune.datasets.mp100.files import read_part
from capetune.errors import UserError
from capetune.events import PictureLeftOut, Progress
from capetune.prediction.template import Template


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture(scope="module")
def labels(tiny_root):
    return tiny_root / "annotations/mp100_split1_test.json"


@pytest.fixture
def template(tmp_path, labels):
    file = tmp_path / "tiny.json"
    made = run("template", "make", "--coco", labels, "--category", "tiny88", "--shots", 1, "--out", file)
    assert made.exit_code == 0
    assert f"{file}: tiny88, 8 keypoints" in made.stdout
    return file


@pytest.fixture
def pictures(tmp_path, tiny_root):
    """A folder of three pictures."""
    (tmp_path / "in").mkdir()
    for number in range(3):
        shutil.copy(tiny_root / f"images/tiny88_body/{number + 4:03d}.jpg", tmp_path / "in")
    return tmp_path / "in"


def test_a_folder_s_pictures_are_predicted_written_and_drawn(pictures, template, untrained, tmp_path):
    out = tmp_path / "found"
    done = run("predict", pictures, "--template", template, "--checkpoint", untrained, "--out", out, "--draw")
    assert done.exit_code == 0
    assert "3 poses of 8 keypoints in 3 of 3 pictures; mean score 0." in done.stdout
    tree = json.loads((out / "poses.json").read_text())
    assert (tree["epoch"], tree["left_out"]) == (3, {})
    assert tree["template"] == json.loads(template.read_text())
    assert [pose["image"] for pose in tree["poses"]] == ["004.jpg", "005.jpg", "006.jpg"]
    poses = capetune.load(untrained).predict(sorted(pictures.iterdir()), Template.read(template))
    for pose, xy, score in zip(tree["poses"], poses.xy, poses.score, strict=True):
        np.testing.assert_allclose([[k["x"], k["y"]] for k in pose["keypoints"]], xy, atol=1e-3)
        np.testing.assert_allclose([k["score"] for k in pose["keypoints"]], score, atol=1e-5)
    rows = list(csv.DictReader((out / "poses.csv").open()))
    assert len(rows) == 3 * 8
    assert float(rows[9]["x"]) == tree["poses"][1]["keypoints"][1]["x"]
    assert rows[9]["name"] == tree["poses"][1]["keypoints"][1]["name"]
    drawn = sorted((out / "drawn").iterdir())
    assert [file.name for file in drawn] == ["0001-004.png", "0002-005.png", "0003-006.png"]
    plain, over = cv2.imread(str(pictures / "004.jpg")), cv2.imread(str(drawn[0]))
    times = over.shape[0] // plain.shape[0]
    assert times > 1
    assert (over != cv2.resize(plain, None, fx=times, fy=times)).any()
    x, y = (round(float(value) * times) for value in poses.xy[0, 0])
    assert (over[y - 2 : y + 3, x - 2 : x + 3].max(axis=-1) > 200).any() or (over[y, x] == 0).all()


def test_the_coco_file_is_read_back_with_the_same_boxes_and_places(tiny_root, template, untrained, labels, tmp_path):
    out, pictures = tmp_path / "found", tiny_root / "images/tiny88_body"
    asked = ("--template", template, "--checkpoint", untrained, "--boxes", labels)
    done = run("predict", pictures, *asked, "--out", out)
    assert done.exit_code == 0
    assert "boxes of" in done.stdout  # of pictures that weren't asked for
    poses = json.loads((out / "poses.json").read_text())["poses"]
    assert len(poses) == 20
    part = read_part(out / "coco.json", 1, "test")
    again = next(iter(part.instances.values()))
    assert part.categories[0].name == "tiny88"
    for pose, instance in zip(poses, again, strict=True):
        np.testing.assert_allclose(pose["box"], instance.box)
        np.testing.assert_allclose([[k["x"], k["y"]] for k in pose["keypoints"]], instance.xy)
    theirs = [each.box for each in read_part(labels, 1, "test").instances[88]]
    np.testing.assert_allclose([pose["box"] for pose in poses], theirs)


def test_two_boxes_of_a_picture_are_two_objects(tiny_root, template, untrained, labels, tmp_path):
    picture = tiny_root / "images/tiny88_body/000.jpg"
    asked = ("--template", template, "--checkpoint", untrained, "--boxes", labels)
    assert run("predict", picture, *asked, "--out", tmp_path / "found", "--draw").exit_code == 0
    poses = json.loads((tmp_path / "found/poses.json").read_text())["poses"]
    assert [pose["object"] for pose in poses] == [0, 1]
    assert poses[0]["box"] != poses[1]["box"]
    assert len(list((tmp_path / "found/drawn").iterdir())) == 1


def test_pictures_that_cant_be_used_are_named_and_the_others_go_on(pictures, template, untrained, tmp_path):
    (pictures / "005.jpg").write_bytes(b"no picture")
    heard: list = []
    asked = {"images": [pictures, tmp_path / "none.jpg"], "template": template, "checkpoint": untrained}
    result = capetune.predict(**asked, out=tmp_path / "one", listener=heard.append)
    assert [pose.picture for pose in result.poses] == ["004.jpg", "006.jpg"]
    assert result.left_out == {
        "005.jpg": "image unreadable",
        (tmp_path / "none.jpg").as_posix(): "there is no such file",
    }
    assert [event.picture for event in heard if isinstance(event, PictureLeftOut)] == list(result.left_out)
    assert [event.done for event in heard if isinstance(event, Progress)][-1] == 4
    words = ("predict", pictures, tmp_path / "none.jpg", "--template", template, "--checkpoint", untrained)
    with pytest.raises(UserError, match=r"2 left out of 4 pictures, such as 005\.jpg: image unreadable"):
        run(*words, "--out", tmp_path / "two")
    assert json.loads((tmp_path / "two/poses.json").read_text())["left_out"] == result.left_out
    with pytest.raises(UserError, match="none of the 1 pictures can be used"):
        run("predict", pictures / "005.jpg", *words[3:], "--out", tmp_path / "three")
    assert not (tmp_path / "three").exists()


def test_where_no_picture_is_there_it_is_said_before_anything_is_loaded(template, tmp_path):
    asked = ("--template", template, "--checkpoint", tmp_path / "none", "--out", tmp_path / "found")
    with pytest.raises(UserError, match=r"no such picture: .*none\.jpg; give files or a folder that exist"):
        run("predict", tmp_path / "none.jpg", *asked)


def test_boxes_far_larger_than_their_picture_are_said(pictures, template, untrained, tmp_path):
    asked = ("--template", template, "--checkpoint", untrained, "--out", tmp_path / "found")
    height, width = cv2.imread(str(pictures / "004.jpg")).shape[:2]
    done = run("predict", pictures, *asked, "--box", "0,0,4000,3000")
    said = f"3 of 3 boxes reach far beyond their picture, 004.jpg (4000×3000 in {width}×{height} pixels) for one"
    assert said in " ".join(done.output.split())


def test_a_category_s_template_comes_from_what_the_model_was_trained_on(pictures, untrained, tmp_path):
    asked = ("--category", "tiny88", "--shots", 1, "--checkpoint", untrained)
    done = run("predict", pictures, *asked, "--out", tmp_path / "found", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["event"] == "result"
    assert lines[-1]["poses"] == 3
    tree = json.loads((tmp_path / "found/poses.json").read_text())
    assert tree["template"]["made_of"].startswith("1 instance of tiny88 in ")


def test_labelled_instances_are_shown_without_a_template_s_file(pictures, untrained, labels, template, tmp_path):
    support = ("--support", labels, "--category", "tiny88", "--shots", 1)
    for name, asked in (("one", support), ("two", ("--template", template))):
        assert run("predict", pictures, *asked, "--checkpoint", untrained, "--out", tmp_path / name).exit_code == 0
    one, two = ((tmp_path / name / "poses.csv").read_text() for name in ("one", "two"))
    assert one == two


def test_a_model_that_looks_takes_a_category_and_refuses_what_has_no_image(
    pictures, template, labels, looking, tmp_path
):
    asked = ("--checkpoint", looking, "--out", tmp_path / "found")
    for bare in (("--template", template), ("--support", labels, "--category", "tiny88")):
        with pytest.raises(UserError, match=r"looks at the images of supports .* give --category NAME, of the pack"):
            run("predict", pictures, *bare, *asked)
    assert not (tmp_path / "found").exists()
    assert run("predict", pictures, "--category", "tiny88", *asked).exit_code == 0
    assert len(json.loads((tmp_path / "found/poses.json").read_text())["poses"]) == 3


def test_a_checkpoint_that_knows_no_calibration_says_so(pictures, template, untrained, tmp_path):
    shutil.copytree(untrained, tmp_path / "older")
    meta = json.loads((untrained / "meta.json").read_text())
    meta["metrics"] = {"mpck4": 0.1}
    (tmp_path / "older/meta.json").write_text(json.dumps(meta))
    for checkpoint, said in ((untrained, False), (tmp_path / "older", True)):
        asked = ("--template", template, "--checkpoint", checkpoint, "--out", tmp_path / f"found-{said}")
        assert ("its scores aren't calibrated" in run("predict", pictures, *asked).stdout) is said


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "what is to be found? Give --template FILE, --support FILE"),
        (("--template", "x.json", "--data", "y"), "leave out --support and --data"),
        (("--support", "x.json", "--data", "y"), "leave out one of the two"),
        (("--template", "none.json"), "there is no such template"),
        (("--template", "none.json", "--box", "1,2,3,4", "--boxes", "y"), "leave out one of the two"),
        (("--box", "1,2"), "--box: wanted is x,y,width,height"),
        (("--category", "nosuch"), "has no category 'nosuch'"),
        (("--boxes", "none.json"), "--boxes none.json: there is no such file"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(pictures, untrained, tmp_path, words, line):
    with pytest.raises(UserError) as raised:
        run("predict", pictures, *words, "--checkpoint", untrained, "--out", tmp_path / "found")
    assert line in str(raised.value)
    assert not (tmp_path / "found").exists()


def test_what_was_found_before_is_not_written_over(pictures, template, untrained, tmp_path):
    (tmp_path / "found").mkdir()
    (tmp_path / "found/notes").touch()
    with pytest.raises(UserError, match="is there already; give --out a folder that is new or empty"):
        run("predict", pictures, "--template", template, "--checkpoint", untrained, "--out", tmp_path / "found")
    assert [file.name for file in (tmp_path / "found").iterdir()] == ["notes"]


def test_a_template_is_drawn(template, tmp_path):
    done = run("template", "show", template, "--out", tmp_path / "tiny.png")
    assert done.exit_code == 0
    picture = cv2.imread(str(tmp_path / "tiny.png"))
    assert picture.shape == (480, 480, 3)
    assert (picture.std(axis=-1) > 40).sum() > 8 * 30  # colours: the keypoints and edges
    with pytest.raises(UserError, match=r"call it something\.png"):
        run("template", "show", template, "--out", tmp_path / "tiny.gif")
