"""The order of `capetune demo`; each step is tested where it lives, all of them together by `make demo`."""

from __future__ import annotations

import json
from types import SimpleNamespace

from typer.testing import CliRunner

from capetune.cli import common, demo, eval, search, train
from capetune.cli.main import app
from capetune.config import load_preset


def test_the_best_of_a_search_is_trained_on_the_preset_s_schedule_and_evaluated_on_unseen_categories(
    tmp_path, monkeypatch
):
    called = {}
    pack = SimpleNamespace(instances=[1, 2], categories=[1], path=tmp_path / "pack")
    monkeypatch.setattr(common, "open_data", lambda data, console: pack)

    def searched(asked, **limits):
        called["search"] = asked, limits

    def trained(*arguments):
        called["train"] = arguments
        (tmp_path / "runs" / arguments[8]).mkdir(parents=True)
        return tmp_path / "checkpoint"

    def evaluated(*arguments):
        called["eval"] = arguments
        scores = {"mpck4": 0.45, "template": {"mpck4": 0.34}, "pairs": 90, "protocol": "official pairs"}
        arguments[-1].write_text(json.dumps(scores))

    monkeypatch.setattr(search, "search", searched)
    monkeypatch.setattr(train, "train", trained)
    monkeypatch.setattr(eval, "command", evaluated)
    result = CliRunner().invoke(app, ["demo", "--runs", str(tmp_path / "runs")], catch_exceptions=False)
    assert result.exit_code == 0
    assert "model mPCK4 0.450, template 0.340 on the same 90 pairs: +0.110" in result.stdout
    assert "synthetic data" in result.stdout
    asked, limits = called["search"]
    assert (asked.space, asked.data, limits["trials"]) == ("demo.yaml", "synthetic", 4)
    assert called["train"][:3] == (asked.name, True, None)
    preset = load_preset("demo").train
    assert f"train.steps={preset.steps}" in called["train"][6]
    assert demo._schedule()["epochs"] == preset.epochs
    assert called["eval"][:3] == (1, "test", 1)
    assert tmp_path / "checkpoint" in called["eval"]
