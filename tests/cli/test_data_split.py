from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.errors import UserError


def test_says_what_went_where(tiny_root, tmp_path):
    out = tmp_path / "frames"
    arguments = ["data", "split", "--by", "frames", "--annotations", tiny_root / "annotations", "--out", out]
    result = CliRunner().invoke(app, [*map(str, arguments), "--category", "tiny100"])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"{out}: split 1 by frames, seen categories",
        "  tiny100: train 10, val 3, test 5",
        "an episode of validation can have 2 queries here, not 15: search and train with --set validation.queries=2",
    ]


def split(root, out, *more):
    words = ["data", "split", "--by", "categories", "--annotations", root / "annotations", "--out", out, *more]
    return CliRunner().invoke(app, [*map(str, words)])


def test_says_which_categories_went_where(tiny_root, tmp_path):
    out = tmp_path / "mine"
    result = split(tiny_root, out, "--category", "tiny90", "--category", "tiny91", "--category", "tiny92")
    assert result.exit_code == 0, result.output
    first, *parts = result.stdout.splitlines()
    assert first == f"{out}: split 1 by categories, those of val and test aren't seen in training"
    assert [line.split(":")[0] for line in parts] == ["  train 1", "  val 1", "  test 1"]
    assert sorted(line.split(": ")[1] for line in parts) == ["tiny90", "tiny91", "tiny92"]


def test_shares_of_images_are_not_for_categories(tiny_root, tmp_path):
    result = split(tiny_root, tmp_path / "out", "--val", 0)
    assert isinstance(result.exception, UserError)
    assert "they are for --by frames" in str(result.exception)
