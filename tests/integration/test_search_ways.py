"""Ways to run a search's trials: several workers each, on kept features, followed by a tracker."""

from __future__ import annotations

import pytest
from mlflow import MlflowClient

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]  # long as they are


@pytest.fixture
def whole(place) -> str:
    """A space whose trials are all trained to their end, whatever they reach."""
    (place / "whole.yaml").write_text("scheduler: none\nloss.tokens: {log: [0.1, 1.0]}\n")
    return "whole.yaml"


def test_trials_of_two_workers_give_every_cpu_back(start, place, tiny_pack, whole, trials_of):
    program = start(
        *("search", "--space", whole, "--data", tiny_pack, "--trials", 2, "--name", "pair"),
        *("--workers-per-trial", 2, "--track", "wandb"),
        also={"WANDB_MODE": "offline"},
    )
    assert program.end() == 0, program.err
    assert "2 workers a trial" in next(line for line in program.out if line.startswith("✓ cluster"))
    results = trials_of(place / "runs/pair")
    assert {number: trial["status"] for number, trial in results.items()} == {0: "completed", 1: "completed"}
    assert len(list((place / "runs/pair/wandb").glob("offline-run-*/run-*.wandb"))) == 2


def test_trials_train_on_kept_features_which_go_when_it_is_done(start, place, tiny_pack, whole, trials_of):
    keys = {"model.backbone.weights": "imagenet"}
    tracking = {"MLFLOW_TRACKING_URI": f"sqlite:///{place}/mlflow.db"}
    program = start(
        *("search", "--space", whole, "--data", tiny_pack, "--trials", 2, "--name", "kept-features"),
        *("--cache-features", 2, "--track", "mlflow"),
        set_=keys,
        also=tracking,
    )
    program.wait_for("computing features")
    program.kill()
    program.end()
    program = start("search", "--resume", "kept-features", also=tracking)
    assert program.end() == 0, program.err
    folder = place / "runs/kept-features"
    assert [trial["status"] for trial in trials_of(folder).values()] == ["completed", "completed"]
    assert not list(folder.glob("features*"))
    client = MlflowClient(f"sqlite:///{place}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("kept-features").experiment_id])
    assert len(runs) == 2
    for run in runs:
        trial = trials_of(folder)[int(run.data.params["number"])]
        epochs = [(row.step, row.value) for row in client.get_metric_history(run.info.run_id, "mpck4")]
        assert epochs == [tuple(row) for row in trial["history"]]
