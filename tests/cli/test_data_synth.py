"""`capetune data synth`."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.errors import UserError


def test_makes_the_data_set_and_says_so(tmp_path: Path) -> None:
    out = tmp_path / "data"
    arguments = ["--categories", "10", "--images", "1", "--size", "64", "--workers", "1"]
    result = CliRunner().invoke(app, ["data", "synth", "--out", str(out), *arguments])
    assert result.exit_code == 0, result.output
    assert "10 categories, 10 images, 5 splits" in result.stdout
    assert len(list((out / "annotations").iterdir())) == 15
    assert len(list((out / "images").glob("*/*.jpg"))) == 10


def test_an_existing_folder_is_a_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["data", "synth", "--out", str(tmp_path)])
    assert isinstance(result.exception, UserError)


def test_help_has_examples() -> None:
    result = CliRunner().invoke(app, ["data", "synth", "--help"])
    assert "capetune data synth --out data/synthetic" in result.stdout
