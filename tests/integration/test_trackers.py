"""Trainings and promotions in MLflow: a run there for each, whatever is interrupted in between."""

from __future__ import annotations

import json
import signal

import pytest
from mlflow import MlflowClient

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]  # long as it is


def test_a_training_goes_on_in_its_run_and_a_promotion_s_jobs_have_their_own(start, place, tiny_pack):
    tracking = {"MLFLOW_TRACKING_URI": f"sqlite:///{place}/mlflow.db"}
    words = ("train", "--data", tiny_pack, "--name", "deep")
    program = start(*words, "--track", "mlflow", set_={"train.epochs": 6}, also=tracking)
    program.wait_for("epoch 2/6")
    program.signal(signal.SIGINT)
    assert program.end() == 130
    client = MlflowClient(tracking["MLFLOW_TRACKING_URI"])

    def runs(experiment: str) -> dict:
        found = client.get_experiment_by_name(experiment)
        return {run.info.run_name: run for run in client.search_runs([found.experiment_id])}

    (before,) = runs("deep").values()
    assert before.info.status == "KILLED"
    program = start(*words, set_={"train.epochs": 6}, also=tracking)  # as its record says
    assert program.end() == 0, program.err
    ((name, after),) = runs("deep").items()
    assert (name, after.info.run_id, after.info.status) == ("deep", before.info.run_id, "FINISHED")
    assert after.data.params["train.epochs"] == "6"
    history = [json.loads(line) for line in (place / "runs/deep/history.jsonl").open()]
    sent = client.get_metric_history(after.info.run_id, "mpck4")
    assert sorted((row.step, row.value) for row in sent) == [(int(row["epoch"]), row["mpck4"]) for row in history]

    program = start("search", "--space", "losses", "--data", tiny_pack, "--trials", 1, "--name", "one")
    assert program.end() == 0, program.err
    program = start(
        *("promote", "one", "--splits", "1,2", "--seeds", 1, "--shots", 1, "--episodes", 1, "--track", "mlflow"),
        also=tracking,
    )
    assert program.end() == 0, program.err
    jobs = runs("one-promoted")
    assert {name: run.info.status for name, run in jobs.items()} == {
        "split1-seed42": "FINISHED",
        "split2-seed42": "FINISHED",
    }
    folder = place / "runs/one-promoted"
    reports = {file.parent.name: json.loads(file.read_text()) for file in folder.glob("*/eval-1shot-1x15.json")}
    assert {name: run.data.metrics["test_mpck4_1shot"] for name, run in jobs.items()} == {
        name: report["mpck4"] for name, report in reports.items()
    }
