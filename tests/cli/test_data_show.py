import cv2
from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.datasets.synthetic.generate import VERSION
from capetune.errors import UserError


def run(*arguments):
    return CliRunner().invoke(app, ["data", "show", *map(str, arguments)])


def test_writes_a_sheet(tiny_pack, tmp_path):
    result = run(tiny_pack, "--out", tmp_path / "sheet.png", "--count", 6)
    assert result.exit_code == 0, result.output
    assert "6 instances, 6 of the pack's 14 categories" in result.stdout
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[1] == 3 * 260 + 4


def test_one_category_of_one_part(tiny_pack, tmp_path):
    result = run(tiny_pack, "--out", tmp_path / "a.png", "--category", "tiny88", "--split", 1, "--part", "test")
    assert result.exit_code == 0, result.output
    assert "20 instances, 1 of the pack's 14 categories" in result.stdout


def test_an_unknown_category_is_said_with_the_nearest(tiny_pack, tmp_path):
    result = run(tiny_pack, "--out", tmp_path / "a.png", "--category", "tiny8")
    assert isinstance(result.exception, UserError)
    assert "the nearest is 'tiny" in str(result.exception)


def test_a_folder_that_is_no_pack(tmp_path):
    result = run(tmp_path, "--out", tmp_path / "a.png")
    assert isinstance(result.exception, UserError)
    assert "not a capetune pack" in str(result.exception)


def test_the_built_in_set_has_its_name_here_too(tiny_pack, tmp_path, monkeypatch):
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path))
    (tmp_path / f"synthetic-v{VERSION}").symlink_to(tiny_pack)  # as if it were made already
    result = run("synthetic", "--out", tmp_path / "a.png", "--count", 2)
    assert result.exit_code == 0, result.output
    assert "2 instances, 2 of the pack's 14 categories" in result.stdout


def test_the_worst_come_first_with_their_ids(tiny_pack, tmp_path):
    result = run(tiny_pack, "--out", tmp_path / "a.png", "--worst", "visible", "--count", 5, "--category", "tiny95")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "20 of 20 instances to look at, the worst first",
        f"{tmp_path}/a.png: 5 instances, 1 of the pack's 14 categories",
    ]
    assert cv2.imread(str(tmp_path / "a.png")).shape == (2 * (256 + 22 + 4) + 4, 3 * 260 + 4, 3)


def test_where_nothing_is_bad_it_is_said(tiny_pack, tmp_path):
    result = run(tiny_pack, "--out", tmp_path / "a.png", "--worst", "boxes")
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        "none of 280 instances has a keypoint outside its box or a tiny box: no picture is written\n"
    )
    assert not list(tmp_path.iterdir())
