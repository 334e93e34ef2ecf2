"""MLflow's and W&B's own libraries, each with its store in a folder: no server, no network."""

from __future__ import annotations

import builtins
import importlib
import os
import signal
import tempfile
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from capetune.config import load_config
from capetune.errors import UserError
from capetune.events import Doubted, Ended, EpochDone, JobChanged, TrainingBegan
from capetune.runs.history import add_to_history
from capetune.runs.results import trial_folder
from capetune.runs.trackers import IDS, tracked, values_of
from capetune.trial_events import TrialEnded, TrialStarted


@pytest.fixture(autouse=True, scope="module")
def _folders_of_wandb(tmp_path_factory):
    """wandb makes two temporary folders when it is imported and clears them away when Python ends: a process of
    pytest-xdist may be ended before that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("wandb")))
        for name in ("wandb.sdk.artifacts.artifact", "wandb.sdk.data_types._private"):
            importlib.import_module(name)
        yield


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder to be in, and no settings from outside."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def mlflow(place, monkeypatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
    return MlflowClient(f"sqlite:///{place}/mlflow.db")


@pytest.fixture
def run(place) -> Path:
    folder = place / "runs/night"
    folder.mkdir(parents=True)
    return folder


def runs_of(client: MlflowClient) -> dict:
    found = client.search_runs([client.get_experiment_by_name("night").experiment_id])
    return {run.info.run_name: run for run in found}


def scores(client: MlflowClient, run, metric: str = "mpck4") -> list[tuple[int, float]]:
    return sorted((row.step, row.value) for row in client.get_metric_history(run.info.run_id, metric))


@pytest.mark.parametrize(("name", "package"), [("mlflow", "mlflow"), ("wandb", "wandb")])
def test_a_package_that_is_not_there_is_named_with_the_cure(name, package, run, monkeypatch):
    real = builtins.__import__

    def without(asked, *rest):
        if asked.split(".")[0] == package:
            raise ImportError(asked)
        return real(asked, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with (
        pytest.raises(UserError, match=rf"--track {name} needs another package: pip install 'capetune\[{name}\]'"),
        tracked(name, run, print, {}),
    ):
        pass


def test_nobody_logged_in_to_weights_and_biases_is_said_before_anything_starts(run):
    with pytest.raises(UserError, match="--track wandb: no API key: `wandb login`"), tracked("wandb", run, print, {}):
        pass


def test_an_address_that_mlflow_does_not_know_is_said_before_anything_starts(run, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "gopher://somewhere")
    with pytest.raises(UserError, match=r"--track mlflow: .*gopher"), tracked("mlflow", run, print, {}):
        pass


def test_without_a_tracker_the_listener_is_the_same(run):
    with tracked(None, run, print, {}) as listener:
        assert listener is print


def test_a_trial_that_goes_on_goes_on_in_the_same_run(run, mlflow):
    heard = []
    keys = {"loss.tokens": 0.3}
    with tracked("mlflow", run, heard.append, {}) as hear:
        hear(TrialStarted("night", 3, keys))
        hear(EpochDone("night", 1, {"epoch": 1.0, "mpck4": 0.25, "pck_0.05": 0.125}, trial=3))
    (before,) = runs_of(mlflow).values()
    assert before.info.status == "KILLED"
    with tracked("mlflow", run, heard.append, {}) as hear:
        hear(TrialStarted("night", 3, keys, epoch=1))
        hear(EpochDone("night", 2, {"epoch": 2.0, "mpck4": 0.5, "pck_0.05": 0.25}, trial=3))
        hear(TrialEnded("night", 3, "completed", keys, 2, 0.5, None))
        hear(TrialStarted("night", 4, keys))
        hear(TrialEnded("night", 4, "failed", keys, 0, None, None, error="oh"))
    found = runs_of(mlflow)
    assert {name: one.info.status for name, one in found.items()} == {"trial-003": "FINISHED", "trial-004": "FAILED"}
    assert found["trial-003"].info.run_id == before.info.run_id
    assert found["trial-003"].data.params == {"number": "3", "loss.tokens": "0.3"}
    assert scores(mlflow, found["trial-003"]) == [(1, 0.25), (2, 0.5)]
    assert not [event for event in heard if isinstance(event, Doubted)]
    assert len(heard) == 7


def test_an_epoch_that_nobody_heard_of_is_sent_when_it_goes_on_and_none_twice(run, mlflow):
    for epoch in (1, 2, 3):
        add_to_history(run, {"epoch": float(epoch), "mpck4": 0.25 * epoch})
    with tracked("mlflow", run, lambda event: None, {}) as hear:
        hear(EpochDone("night", 1, {"epoch": 1.0, "mpck4": 0.25}))  # the training was ahead
    with tracked("mlflow", run, lambda event: None, {}) as hear:
        hear(TrainingBegan("night", 4))
        hear(EpochDone("night", 3, {"epoch": 3.0, "mpck4": 0.5}))  # trained again
        hear(EpochDone("night", 4, {"epoch": 4.0, "mpck4": 1.0}))
    assert scores(mlflow, runs_of(mlflow)["night"]) == [(1, 0.25), (2, 0.5), (3, 0.75), (4, 1.0)]


def test_a_trial_that_ended_in_no_sitting_is_told_of_by_its_history(run, mlflow):
    folder = trial_folder(run, 5)
    folder.mkdir(parents=True)
    add_to_history(folder, {"epoch": 1.0, "mpck4": 0.5})
    with tracked("mlflow", run, lambda event: None, {}) as hear:
        hear(TrialEnded("night", 4, "completed", {}, 1, 0.5, None, earlier=True))
        hear(TrialEnded("night", 5, "completed", {}, 1, 0.5, None))
    (one,) = runs_of(mlflow).values()
    assert (one.info.run_name, one.info.status, scores(mlflow, one)) == ("trial-005", "FINISHED", [(1, 0.5)])


def test_a_run_that_was_deleted_there_is_begun_anew(run, mlflow):
    for _ in range(2):
        with tracked("mlflow", run, lambda event: None, {}) as hear:
            hear(TrialStarted("night", 0, {}))
        (one,) = runs_of(mlflow).values()
        mlflow.delete_run(one.info.run_id)
    assert one.info.run_id in (run / IDS).read_text()


def test_a_training_has_its_configuration_and_a_job_its_test_scores(run, mlflow):
    config = load_config("demo")
    with tracked("mlflow", run, lambda event: None, values_of(config)) as hear:
        hear(TrainingBegan("night", 1))
        hear(EpochDone("night", 1, {"epoch": 1.0, "mpck4": 0.25}))
        hear(Ended("night", "completed"))
        hear(JobChanged("night", "split1-seed0", "running"))
        hear(EpochDone("night", 1, {"epoch": 1.0, "mpck4": 0.5}, job="split1-seed0"))
        hear(JobChanged("night", "split1-seed0", "ended", {1: 0.75, 5: 0.875}))
        hear(JobChanged("night", "split2-seed0", "running"))
        hear(JobChanged("night", "split2-seed0", "lost"))
    found = runs_of(mlflow)
    states = {"night": "FINISHED", "split1-seed0": "FINISHED", "split2-seed0": "FAILED"}
    assert {name: one.info.status for name, one in found.items()} == states
    assert found["night"].data.params["train.epochs"] == str(config.train.epochs)
    assert scores(mlflow, found["split1-seed0"], "test_mpck4_5shot") == [(1, 0.875)]


def test_a_tracker_that_fails_meanwhile_is_said_once_and_ends_nothing(run, mlflow, place):
    heard = []
    with tracked("mlflow", run, heard.append, {}) as hear:
        hear(TrialStarted("night", 0, {}))
        (one,) = runs_of(mlflow).values()
        mlflow.delete_run(one.info.run_id)
        for epoch in (1, 2):
            hear(EpochDone("night", epoch, {"epoch": float(epoch), "mpck4": 0.5}, trial=0))
    doubts = [event.why for event in heard if isinstance(event, Doubted)]
    assert len(doubts) == 1
    assert doubts[0].startswith("--track mlflow: ")
    assert doubts[0].endswith("; what follows isn't sent there")
    assert len(heard) == 4


def test_a_run_of_which_an_epoch_could_not_be_sent_is_ended_there(run, mlflow, monkeypatch):
    heard = []
    with tracked("mlflow", run, heard.append, {"a": 1}) as hear:
        hear(TrainingBegan("night", 4))
        monkeypatch.setattr(MlflowClient, "log_batch", lambda *given, **named: 1 / 0)
        hear(EpochDone("night", 1, {"epoch": 1.0, "mpck4": 0.25}))
    (one,) = runs_of(mlflow).values()
    assert one.info.status == "KILLED"
    assert len([event for event in heard if isinstance(event, Doubted)]) == 1


def test_an_interrupt_in_the_middle_of_a_call_leaves_no_run_that_seems_to_go_on(run, mlflow, monkeypatch):
    log = MlflowClient.log_batch

    def struck(client, *given, **named):
        if not named:  # of an epoch: values are named
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)  # time for it to strike
        log(client, *given, **named)

    monkeypatch.setattr(MlflowClient, "log_batch", struck)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with tracked("mlflow", run, lambda event: None, {"a": 1}) as hear:
            hear(TrainingBegan("night", 4))
            with pytest.raises(KeyboardInterrupt):
                hear(EpochDone("night", 1, {"epoch": 1.0, "mpck4": 0.25}))
    finally:
        signal.signal(signal.SIGINT, before)
    (one,) = runs_of(mlflow).values()
    assert (one.info.status, scores(mlflow, one)) == ("KILLED", [(1, 0.25)])


@pytest.mark.long
def test_weights_and_biases_offline_goes_on_under_the_same_id(run, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    heard = []
    for epoch in (1, 2):
        with tracked("wandb", run, heard.append, {"seed": 1}) as hear:
            hear(TrialStarted("night", 0, {}))
            hear(TrialStarted("night", 1, {}))
            for trial in (0, 1):
                hear(EpochDone("night", epoch, {"epoch": float(epoch), "mpck4": 0.5}, trial=trial))
    assert not [event for event in heard if isinstance(event, Doubted)]
    files = [file.name for file in (run / "wandb").glob("offline-run-*/run-*.wandb")]
    assert (len(files), len(set(files))) == (4, 2)  # two trials, each in two sittings
