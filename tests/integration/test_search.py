from __future__ import annotations

import csv
import json
import os
import signal
import time
import urllib.error
import urllib.request

import psutil
import pytest
import yaml
from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.config import load_config
from capetune.training.checkpoint import read_meta
from capetune.training.runs import find_search, latest_checkpoint, read_run

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


def test_a_trial_that_diverges_is_failed_and_keeps_its_traceback(results, place, searched):
    failed = [trial for trial in results["trials"] if trial["status"] == "failed"]
    assert failed
    for trial in failed:
        assert trial["score"] is None
        assert trial["checkpoint"] is None
        assert trial["error"].startswith("the loss became nan at learning rate")
        assert "in train_epoch" in (place / trial["traceback"]).read_text()
    assert f"{len(failed)} failed" in "\n".join(searched.out)
    assert results["trials"][0]["status"] != "failed"
    assert len(results["trials"]) == 3


def test_nothing_but_what_we_say_is_printed(searched):
    assert searched.err == []
    assert not [line for line in searched.out if "Traceback" in line or "ray." in line]


def test_scores_say_what_they_are_scores_of(results):
    assert results["protocol"] == "official pairs of the val part, 1 episodes, 5 queries"
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
    path, meta = latest_checkpoint(place / "runs")
    assert path == place / best["checkpoint"]
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


def test_a_running_search_is_guarded_and_ctrl_c_ends_all_of_it(start, place, tiny_pack):
    many = {"train.epochs": 500}
    program = start("search", "--space", "losses", "--data", tiny_pack, "--trials", 40, "--name", "long", set_=many)
    said = program.wait_for("Ray: ")
    program.wait_for("epoch 2/")
    dashboard = next(word for word in said.split() if word.startswith("http://127.0.0.1:"))
    token = (place.parent / "home/cache/ray-token").read_text()
    assert _status(dashboard, None) == 401
    assert _status(dashboard, token) == 200
    assert _listening(program.children()) == {"127.0.0.1"}

    program.signal(signal.SIGINT, group=True)
    time.sleep(0.2)  # an impatient second Ctrl-C, wherever the first one has got to
    program.signal(signal.SIGINT, group=True)
    assert program.end() == 130
    assert program.err == ["error: interrupted"]
    run = read_run(place / "runs/long")
    assert run is not None
    assert run.state == "interrupted"


def _status(dashboard: str, token: str | None) -> int:
    request = urllib.request.Request(dashboard.rstrip("/") + "/api/cluster_status")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def _listening(processes) -> set[str]:
    """Addresses that processes take connections on."""
    ids = {process.pid for process in processes} - {os.getpid()}
    found = {c.laddr.ip for c in psutil.net_connections("inet") if c.status == psutil.CONN_LISTEN and c.pid in ids}
    return {address.removeprefix("::ffff:") for address in found}  # IPv4's loopback as IPv6 spells it
