from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.config import leaf_keys
from capetune.errors import UserError
from capetune.tuning.space_file import BUILT_IN

TEXT = """metric: val_loss
budget: {trials: 4}
points: [{loss.tokens: 0.5}]
loss.tokens: {log: [0.05, 2]}
model.sequence: {choice: [xy, point]}
model.vocabulary: {choice: [64, 128, 256], when: {model.sequence: xy}}
"""


HEADED = "loss.tokens: {log: [0.05, 2]}\n"


def space(*arguments):
    return CliRunner().invoke(app, ["space", *map(str, arguments)], catch_exceptions=False)


def test_the_built_in_spaces_are_named_with_what_they_are_for():
    out = space("list").stdout
    for name in ("decoder", "losses", "optimiser", "backbone", "networks", "sequence", "smoke", "data", "demo"):
        assert any(line.startswith(name + " ") for line in out.splitlines()), name


def test_every_option_of_the_model_and_its_training_is_in_a_built_in_space():
    searched = set()
    for file in BUILT_IN.glob("*.yaml"):
        tree = json.loads(space("show", file.stem, "--preset", "demo", "--json").stdout)
        searched |= {row["key"] for row in tree["parameters"]}
    apart = {  # not options, but how long and how large
        *("seed", "train.epochs", "train.batch_size", "train.steps", "model.heads", "model.support.layers"),
        *("model.decoder.points", "model.backbone.weights", "model.backbone.precision", "model.execution"),
        "model.support.source",  # goes with given shots only, and asks for other things of a template
        *("data.split", "data.size", "data.workers", "data.max_corrupt", "train.save_minutes", "train.patience"),
        *(key for key in leaf_keys() if key.startswith("validation.")),
    }
    assert set(leaf_keys()) - searched == apart


def test_a_space_is_a_table_with_sizes_and_conditions(tmp_path):
    (tmp_path / "mine.yaml").write_text(TEXT)
    lines = space("show", tmp_path / "mine.yaml", "--preset", "demo").stdout.splitlines()
    row = next(line for line in lines if line.startswith("model.vocabulary"))
    assert row.split() == ["model.vocabulary", "choice", "[64,", "128,", "256]", "3", "–", "model.sequence", "=", "xy"]
    assert any("infinitely many configurations; goal val_loss (min)" in line for line in lines)
    assert lines[-1] == "budget: 4 trials; 1 points tried first, after the default"


def test_it_is_said_what_the_space_was_checked_against(tmp_path):
    (tmp_path / "mine.yaml").write_text(TEXT)
    (tmp_path / "part.yaml").write_text("train: {epochs: 2}\n")
    words = ("--preset", "demo", "--config", tmp_path / "part.yaml", "--set", "seed=3", "--set", "loss.tokens=1e-1")
    base = f"preset demo, {tmp_path}/part.yaml, --set seed=3, --set loss.tokens=1e-1"
    assert f"checked against {base}, whose values" in space("show", tmp_path / "mine.yaml", *words).stdout
    assert json.loads(space("show", tmp_path / "mine.yaml", *words, "--json").stdout)["base"] == base
    (tmp_path / "mine.yaml").write_text(HEADED)
    assert "checked against preset tiny, whose" in space("show", tmp_path / "mine.yaml").stdout


def test_a_space_is_json_for_others(tmp_path):
    (tmp_path / "mine.yaml").write_text(TEXT)
    tree = json.loads(space("show", tmp_path / "mine.yaml", "--preset", "demo", "--json").stdout)
    assert [row["key"] for row in tree["parameters"]] == ["loss.tokens", "model.sequence", "model.vocabulary"]
    assert tree["parameters"][1]["values"] == 2
    assert tree["metric"] == ["val_loss"]


def test_a_wrong_one_is_one_line_with_its_place(tmp_path):
    (tmp_path / "mine.yaml").write_text("loss.tokens: {log: [2, 1]}\n")
    with pytest.raises(UserError, match=r"mine.yaml, line 1: loss.tokens: log \[2, 1\] is empty"):
        space("show", tmp_path / "mine.yaml")
