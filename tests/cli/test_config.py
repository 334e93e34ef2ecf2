from __future__ import annotations

import pytest
import yaml
from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.config import load_preset, preset_names


def printed(*arguments):
    result = CliRunner().invoke(app, ["config", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return yaml.safe_load(result.stdout)


@pytest.mark.parametrize("preset", preset_names())
def test_the_whole_tree_of_a_preset_is_printed(preset):
    assert printed("--preset", preset) == load_preset(preset).model_dump(mode="json")


def test_tiny_is_the_paper_s_table_1_and_the_default():
    tree = printed()
    assert tree == printed("--preset", "tiny")
    assert (tree["train"]["epochs"], tree["train"]["batch_size"], tree["train"]["learning_rate"]) == (5, 8, 1e-4)
    assert (tree["model"]["backbone"]["name"], tree["data"]["size"], tree["seed"]) == ("resnet50", 512, 42)


def test_a_file_goes_over_the_preset_and_set_over_the_file(tmp_path):
    (tmp_path / "part.yaml").write_text("loss: {tokens: 2, coordinates: 3}\n")
    tree = printed("--config", str(tmp_path / "part.yaml"), "--set", "loss.tokens=4")
    assert tree["loss"] == {"tokens": 4.0, "coordinates": 3.0, "smoothing": 0.0}


def test_what_is_printed_can_be_given_back(tmp_path):
    result = CliRunner().invoke(app, ["config", "--preset", "demo", "--set", "train.learning_rate=3e-4"])
    (tmp_path / "all.yaml").write_text(result.stdout)
    assert printed("--config", str(tmp_path / "all.yaml")) == yaml.safe_load(result.stdout)
