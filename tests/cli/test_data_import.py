import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.errors import UserError


def run(*arguments):
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


@pytest.fixture
def exported(tmp_path):
    """A task of CVAT's without a drawing of its skeleton: four wings with a box each, two on the last picture, which
    stands there twice and isn't there."""
    for n in (1, 2):
        Image.new("RGB", (96, 64)).save(tmp_path / f"{n}.png")
    labels = "<label><name>wing</name><type>skeleton</type></label>" + "".join(
        f"<label><name>{part}</name><type>points</type><parent>wing</parent></label>" for part in ("root", "tip")
    )
    images = "".join(
        f'<image id="{n}" name="{n}.png" width="96" height="64"><box label="wing" xtl="1" ytl="2" xbr="3" ybr="4"/>'
        f'<skeleton label="wing"><points label="root" outside="0" occluded="0" points="{n},20.5"/>'
        '<points label="tip" outside="0" occluded="1" points="40,50"/></skeleton></image>'
        for n in (1, 2, 3, 3)
    )
    (tmp_path / "annotations.xml").write_text(
        f"<annotations><meta><task><labels>{labels}</labels></task></meta>{images}</annotations>"
    )
    return tmp_path / "annotations.xml"


def test_says_what_is_in_it_what_is_lost_and_how_to_pack_it(exported, tmp_path):
    out = tmp_path / "my labels"
    result = run("import", exported, "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"{out}/annotations.json: 4 instances of 1 category in 3 pictures, from cvat, as its looks say",
        "  wing: 2 keypoints, 0 edges, 4 instances",
        f"capetune data pack --coco '{out}/annotations.json' --images {tmp_path} --out shards",
    ]
    assert result.stderr.splitlines() == [
        "warning: lost: box that belongs to no skeleton: 4: 1.png, 2.png, 3.png",
        "warning: no skeleton for wing: a model sees keypoints without edges; write pairs into annotations.json's "
        "'skeleton'",
        "warning: doubtful: 1 picture stands in several places, one file is taken for it: 3.png",
        f"warning: 1 picture not below {tmp_path}: 3.png; give --images, their folder",
    ]
    tree = json.loads((out / "annotations.json").read_text())
    assert tree["annotations"][0]["keypoints"] == [1, 20.5, 2, 40, 50, 1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.xml", "--out", "out"), "nowhere.xml doesn't exist; give the file or folder that the tool exported"),
        ((".", "--out", "out"), ". is of no format that is known by its looks: say which with --format"),
        ((".", "--format", "cvat", "--out", "out"), ". holds no *.xml; give the file or folder that the tool exported"),
        ((".", "--format", "cvat", "--out", "."), ". exists already: remove it or give another --out"),
        ((".", "--format", "cvat", "--out", "out", "--images", "no"), "no is not a folder: give the one that holds"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    result = run("import", *arguments)
    assert isinstance(result.exception, UserError)
    assert words in str(result.exception)
    assert not list(tmp_path.iterdir())
