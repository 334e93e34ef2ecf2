from typer.testing import CliRunner

from capetune.cli.main import app


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
