import json

import cv2
import pytest
from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.errors import UserError


def run(*arguments):
    return CliRunner().invoke(app, ["data", "stats", *map(str, arguments)])


def test_says_it_in_a_table_and_lines(tiny_pack):
    result = run(tiny_pack)
    assert result.exit_code == 0, result.output
    rows = [line for line in result.stdout.splitlines() if line.startswith("│") and "tiny" in line]
    assert len(rows) == 14
    assert "280 instances of 14 categories in 252 pictures; box side: smallest, median, largest" in result.stdout


def test_draws_a_figure_and_prints_json(tiny_pack, tmp_path):
    result = run(tiny_pack, "--out", tmp_path / "new/stats.png", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["instances"] == 280
    picture = cv2.imread(str(tmp_path / "new/stats.png"))
    assert picture.shape == (600, 1800, 3)
    assert picture.std() > 10


@pytest.mark.parametrize(
    ("name", "words"), [("stats.jpg", "the figure is a PNG: call stats.jpg something.png"), ("f/a.png", "can't write")]
)
def test_a_figure_that_can_t_be_written(tiny_pack, tmp_path, name, words):
    (tmp_path / "f").write_text("")
    result = run(tiny_pack, "--out", tmp_path / name)
    assert isinstance(result.exception, UserError)
    assert words in str(result.exception)
