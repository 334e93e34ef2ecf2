from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.table import Table
from typer.testing import CliRunner

from capetune.cli import common
from capetune.cli.main import app
from capetune.runs.record import Run

ODD = ("[left]", "r[/bold]", "[red]x", ":dog:", "[link=http://x]y", "\\[a]")


def invoke(*words: object) -> str:
    result = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.parametrize("name", ODD)
def test_nothing_that_a_console_prints_is_markup(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(name, title=name, caption=name)
    table.add_row(name)
    for err in (False, True):
        console = common.console(err)
        console.print(name)
        console.print(table)
        console.rule(name)
    printed = capsys.readouterr()
    assert printed.out.count(name) == printed.err.count(name) == 6


def test_a_folder_of_runs_may_be_named_like_markup(tmp_path: Path) -> None:
    assert invoke("runs", "--runs", tmp_path / "r[/bold]").startswith(f"no runs in {tmp_path}/r[/bold] yet")
    name = "[red]one:dog:"  # made by hand: capetune itself would refuse the name
    Run(tmp_path / "r[/bold]" / name, "train", "completed").save("completed", data="[/]")
    out = invoke("runs", "--runs", tmp_path / "r[/bold]")
    assert out.splitlines()[1].startswith(f"{name}  train")
    assert "[/]" in out
    assert f"name: {name}" in invoke("runs", "show", name, "--runs", tmp_path / "r[/bold]")


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    """Of one category, named like markup."""
    pose = {"bbox": [1, 2, 30, 20], "keypoints": [3, 4, 2, 5, 6, 1], "num_keypoints": 2, "iscrowd": 0, "area": 600}
    document = {
        "images": [{"id": n, "file_name": f"[left]/{n}.jpg", "width": 64, "height": 48} for n in range(3)],
        "annotations": [{"id": n, "image_id": n, "category_id": 102, **pose} for n in range(3)],
        "categories": [{"id": 102, "name": "[left]", "keypoints": [], "skeleton": [[0, 1]]}],
    }
    (tmp_path / "mp100_split1_test.json").write_text(json.dumps(document))
    return tmp_path


def test_a_category_may_be_named_like_markup(annotations: Path) -> None:
    row = next(line for line in invoke("data", "check", "--annotations", annotations).splitlines() if "102" in line)
    assert "[left]" in row
    options = ("--split", 1, "--predictor", "template", "--episodes", 1, "--queries", 2)
    rows = invoke("eval", "--annotations", annotations, *options).splitlines()
    assert any("102" in row and "[left]" in row for row in rows)


@pytest.mark.parametrize("command", ["config", "space show", "train", "search"])
def test_what_each_preset_is_stands_in_the_help(command: str) -> None:
    words = " ".join(invoke(*command.split(), "--help").split())
    for said in ("tiny: the paper's ResNet-50 at 512 px for 5 epochs, no small model", "demo: a small model"):
        assert said in words
