import json

import pytest
from typer.testing import CliRunner

from capetune.cli.main import app, run


def typed(*arguments):
    return CliRunner().invoke(app, ["data", "plan", *map(str, arguments)])


def test_a_plan_is_a_table_and_what_follows_of_it(tiny_pack):
    found = typed(tiny_pack, "--ranks", 2, "--loaders", 2, "--batch", 5)
    assert found.exit_code == 0, found.output
    assert "What each epoch reads" in found.stdout
    assert f"{tiny_pack}, split 1: 200 train samples of 10 categories in 8 shards for 4 readers, each" in found.stdout
    assert "the order is another on every rank and in every epoch" in found.stdout


def test_a_surplus_is_said_and_so_is_an_uneven_share_with_its_cure(tiny_pack):
    found = typed(tiny_pack, "--ranks", 3, "--batch", 7)
    assert "the last step is filled up with 10 samples more: 21 don't divide them" in found.stdout
    assert "of 200 samples, and others come twice; pack with --shards 24, which share more evenly" in found.stderr


def test_a_step_larger_than_the_data_is_said(tiny_pack):
    found = typed(tiny_pack, "--ranks", 4, "--batch", 100)
    assert found.exit_code == 0
    assert "a step takes 400 samples, of 200: give fewer --ranks or a smaller --batch" in found.stderr


def test_as_json(tiny_pack):
    found = json.loads(typed(tiny_pack, "--epochs", 3, "--json").stdout)
    assert [row["epoch"] for row in found["epochs"]] == [1, 2, 3]
    assert found["samples"] == sum(found["epochs"][0][key] for key in ("once", "again", "never"))


def test_balanced_samples_that_come_again_are_no_fault(tiny_pack):
    found = typed(tiny_pack, "--ranks", 3, "--batch", 7, "--balance", "categories")
    assert found.exit_code == 0, found.output
    assert found.stderr == ""


def test_a_plan_that_can_t_work_is_one_line_with_its_cure(tiny_pack, handlers, monkeypatch, capfd):
    monkeypatch.setattr("sys.argv", ["capetune", "data", "plan", str(tiny_pack), "--ranks", "16", "--loaders", "4"])
    with pytest.raises(SystemExit, match="2"):
        run()
    assert capfd.readouterr().err == (
        "error: 8 shards can't feed 64 readers (16 training workers × 4 loader processes): "
        "repack with --shards 64 or use fewer workers\n"
    )
