from __future__ import annotations

import csv
import json

import pytest
import yaml
from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.config import load_config
from capetune.reports.promoted import Protocol, read_promoted
from capetune.runs.checkpoints import read_meta
from capetune.runs.record import read_run
from capetune.runs.registry import find_search, latest_best

from .conftest import typed

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def searched(start, place, tiny_pack):
    """A search of three trials, at least one of which diverges."""
    # 1e30 is a real mistake: the exponent of another parameter. TPE with seed 42 proposes 2e28 and 2e16.
    (place / "wild.yaml").write_text("loss.tokens: {log: [0.05, 2]}\ntrain.learning_rate: {log: [1.0e-4, 1.0e+30]}\n")
    program = start("search", "--space", "wild.yaml", "--data", tiny_pack, "--trials", 3, "--name", "wild")
    assert program.end() == 0, program.err
    return program


@pytest.fixture(scope="module")
def results(searched, place):
    return json.loads((place / "runs/wild/results.json").read_text())


def test_trial_zero_is_the_default_configuration(results):
    first = next(trial for trial in results["trials"] if trial["number"] == 0)
    assert first["overrides"] == {"loss.tokens": 0.2, "train.learning_rate": 0.001}
    assert first["status"] == "completed"
    assert [epoch for epoch, _ in first["history"]] == [1, 2]
    assert first["score"] == max(score for _, score in first["history"])


def test_a_trial_that_diverges_is_told_as_such_and_keeps_its_traceback(results, place, searched):
    diverged = [trial for trial in results["trials"] if trial["status"] == "diverged"]
    assert diverged
    for trial in diverged:
        assert trial["score"] is None
        assert trial["checkpoint"] is None
        assert trial["error"].startswith("the loss became nan at learning rate")
        assert "in train_epoch" in (place / "runs/wild" / trial["traceback"]).read_text()
    assert f"{len(diverged)} diverged, 0 failed" in "\n".join(searched.out)
    assert results["trials"][0]["status"] == "completed"
    assert len(results["trials"]) == 3


def test_nothing_but_what_we_say_is_printed(searched):
    assert searched.err == []
    assert not [line for line in searched.out if "Traceback" in line or "ray." in line]


def test_scores_say_what_they_are_scores_of(results):
    assert results["protocol"] == "val part, sampled as officially, 1 episode of 5 queries a category"
    assert (results["split"], results["shots"], results["data"]) == (1, 1, "real")
    assert results["trials"][0]["metrics"]["template_mpck4"] > 0


def test_the_table_has_a_row_a_trial(results, place):
    with (place / "runs/wild/results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["number"]) for row in rows] == [trial["number"] for trial in results["trials"]]
    assert float(rows[0]["score"]) == results["trials"][0]["score"]
    assert float(rows[0]["train.learning_rate"]) == results["trials"][0]["overrides"]["train.learning_rate"]


def test_the_best_configuration_is_the_best_trial_s_and_can_be_trained(results, place):
    file = place / "runs/wild/best.yaml"
    best = results["trials"][0]
    config = load_config("tiny", file)
    assert config.hash() == best["config_hash"]
    assert yaml.safe_load(file.read_text())["train"]["learning_rate"] == best["overrides"]["train.learning_rate"]
    assert find_search(place / "runs", None).name == "wild"


def test_the_best_checkpoint_is_there_and_says_its_configuration(results, place):
    best = results["trials"][0]
    path, meta = latest_best(place / "runs")
    assert path == place / "runs/wild" / best["checkpoint"]
    assert meta.config.hash() == best["config_hash"]
    assert meta.score == best["score"]
    assert read_meta(path).data["split"] == 1


def test_a_model_of_the_search_is_evaluated_beside_the_template(searched, place):
    few = ["--episodes", "1", "--queries", "3"]
    result = CliRunner().invoke(app, ["eval", "--split", "1", "--runs", str(place / "runs"), "--json", "-", *few])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["pairs"] == 6
    assert report["template"]["mpck4"] > 0
    assert "runs/wild/trials/trial-000" in result.stderr


def test_nothing_is_written_elsewhere(searched, place):
    assert {path.name for path in place.iterdir()} == {"runs", "wild.yaml"}
    assert [path.name for path in (place.parent / "home").iterdir()] == ["cache"]


def test_the_token_is_ours_alone(searched, place):
    token = place.parent / "home/cache/ray-token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert len(token.read_text()) == 64


def test_a_finished_search_is_extended_and_the_sampler_goes_on(
    searched, start, place, trials_of, study_of, monkeypatch
):
    before = trials_of(place / "runs/wild")
    program = start("search", "--resume", "wild", "--trials", 5)
    assert program.end() == 0, program.err
    after = trials_of(place / "runs/wild")
    assert sorted(after) == list(range(5))
    assert {number: after[number] for number in before} == before
    points = {tuple(trial["overrides"].values()) for trial in after.values()}
    assert len(points) == 5
    study = study_of(place / "runs/wild")
    assert [trial.number for trial in study.trials] == list(range(5))
    assert study.best_value == max(trial["score"] for trial in after.values() if trial["score"] is not None)
    monkeypatch.chdir(place)
    again = CliRunner().invoke(app, typed("search", "--resume", "wild"))
    assert again.exit_code == 0, again.output
    assert again.stdout.splitlines()[-1] == "wild is complete: 5 trials; --trials with more extends it"


@pytest.mark.long
def test_the_best_is_promoted_on_splits_and_seeds_and_goes_on_where_it_was(searched, start, place):
    asked = ("--splits", "1,2", "--seeds", 2, "--shots", 1, "--episodes", 1, "--queries", 3)
    program = start("promote", "wild", *asked)
    program.wait_for("split1-seed42: scoring")
    assert program.wait_for("split1-seed42: ended").startswith("split1-seed42: ended, test mPCK4: 1 shot 0.")
    program.kill()
    program.end()
    program = start("promote", "wild", *asked)
    assert program.end() == 0, program.err
    assert program.out[1].startswith(("4 jobs, 1 done already", "4 jobs, 2 done already"))
    tree = json.loads((place / "runs/wild-promoted/promotion.json").read_text())
    (table,) = tree["tables"]
    (row,) = table["rows"]
    assert table["protocol"] == "1 episode of 3 queries a category"
    assert (row["done"], row["jobs"], sorted(row["splits"])) == (4, 4, ["1", "2"])
    assert row["interval"] > 0
    assert 0 <= row["mpck4"] <= 1
    assert row["template"] > 0
    told = read_promoted(read_run(place / "runs/wild-promoted"))
    mean = told.of_all(Protocol(1, 3), 1)
    assert (mean.mpck4, mean.template, mean.count) == (pytest.approx(row["mpck4"]), pytest.approx(row["template"]), 4)
    assert {job.state for job in told.jobs} == {"ended"}
    assert told.asked["jobs"] == [job.name for job in told.jobs]
    scored = [
        json.loads(file.read_text()) for file in (place / "runs/wild-promoted").glob("split1-*/eval-1shot-1x3.json")
    ]
    assert [each["seen"]["pictures"] for each in scored] == [0, 0]
    assert scored[0]["pairs_hash"] == scored[1]["pairs_hash"]
    assert scored[0]["weights_hash"] != scored[1]["weights_hash"]
    assert scored[0]["data_hash"] == scored[1]["data_hash"]
