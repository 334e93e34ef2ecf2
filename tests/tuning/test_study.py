"""The watcher, driven by trials without Ray; the search itself is in tests/integration."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from capetune.config import load_preset
from capetune.errors import UserError
from capetune.tuning.study import _folder_name, _numbers, _Watcher, check_scorable


class Trial(SimpleNamespace):
    def get_error(self):
        return self.error


@pytest.fixture
def heard():
    return []


@pytest.fixture
def kept():
    return []


@pytest.fixture
def watcher(tmp_path, heard, kept):
    config = load_preset("demo").with_overrides({"train.epochs": 3})
    return _Watcher(config, tmp_path / "trials", heard.append, kept.append)


@pytest.fixture
def trial(tmp_path):
    def make(number, **overrides):
        path = tmp_path / "trials" / f"trial-{number:03d}"
        path.mkdir(parents=True)
        config = {"loss.tokens": 0.1 * (number + 1)} | overrides
        return Trial(trial_id=f"id{number}", path=str(path), config=config, status="RUNNING", error=None)

    return make


def report(watcher, trial, epoch, score):
    result = {"epoch": epoch, "mpck4": score, "template_mpck4": 0.3, "pck_0.2": score, "val_loss": 1.0}
    watcher.on_trial_result(0, [], trial, {**result, "time_this_iter_s": 2.0, "pid": 1})


def end(watcher, trial, error=None):
    if error:
        watcher.on_trial_error(0, [], trial)
        trial.status, trial.error = "ERROR", error
    else:
        trial.status = "TERMINATED"
        watcher.on_trial_complete(0, [], trial)
    watcher.on_step_end(0, [])


def test_completed_pruned_and_failed_are_three_different_ends(watcher, trial, heard, kept):
    full, poor, broken = trial(0), trial(1), trial(2)
    for epoch, score in ((1, 0.4), (2, 0.6), (3, 0.5)):
        report(watcher, full, epoch, score)
    report(watcher, poor, 1, 0.2)
    report(watcher, broken, 1, 0.9)
    end(watcher, full)
    end(watcher, poor)
    end(watcher, broken, "Traceback …\n\x1b[36mray\x1b[39m\nZeroDivisionError: division by zero")

    results = watcher.results()
    assert [result.number for result in results] == [0, 1, 2]
    assert [result.status for result in results] == ["completed", "pruned", "failed"]
    assert [result.score for result in results] == [0.6, 0.2, None]
    assert [result.epochs for result in results] == [3, 1, 1]
    assert results[0].history == [(1, 0.4), (2, 0.6), (3, 0.5)]
    assert results[0].metrics["epoch"] == 2
    assert "pid" not in results[0].metrics
    assert results[0].seconds == 6.0
    assert [len(some) for some in kept] == [1, 2, 3]
    assert [event["state"] for event in heard[-3:]] == ["completed", "pruned", "failed"]
    assert heard[-1]["score"] is None


def test_a_failed_trial_keeps_its_last_line_and_its_whole_traceback(watcher, trial):
    broken = trial(0)
    end(watcher, broken, "Traceback …\n\x1b[36mray::train()\x1b[39m\nZeroDivisionError: division by zero\n")
    (result,) = watcher.results()
    assert result.error == "ZeroDivisionError: division by zero"
    assert not result.bad_input
    text = Path(result.traceback).read_text()
    assert text == "Traceback …\nray::train()\nZeroDivisionError: division by zero\n"


def test_bad_input_is_told_from_a_bug(watcher, trial):
    end(watcher, trial(0), "Traceback …\ncapetune.errors.UserError: the loss became nan")
    (result,) = watcher.results()
    assert result.bad_input
    assert result.error == "the loss became nan"


def test_an_error_that_is_written_late_is_waited_for(watcher, trial):
    broken = trial(0)
    broken.status = "ERROR"
    watcher.on_trial_error(0, [], broken)
    watcher.on_step_end(0, [])
    assert watcher.results() == []
    broken.error = "late"
    watcher.on_step_end(1, [])
    assert watcher.results()[0].error == "late"


def test_a_trial_that_never_says_why_is_failed_all_the_same(watcher, trial):
    silent = trial(0)
    silent.status = "ERROR"
    watcher.on_trial_error(0, [], silent)
    watcher.on_experiment_end([])
    assert watcher.results()[0].error == "it ended without a result"


def test_every_epoch_of_a_trial_is_kept_in_its_folder(watcher, trial, tmp_path):
    one = trial(4)
    report(watcher, one, 1, 0.1)
    report(watcher, one, 2, 0.2)
    lines = (tmp_path / "trials/trial-004/history.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(row["epoch"], row["mpck4"], row["seconds"]) for row in rows] == [(1, 0.1, 2.0), (2, 0.2, 2.0)]


def test_values_that_do_not_go_together_do_not_end_the_search(watcher, trial):
    end(watcher, trial(0, **{"model.width": 100}), "capetune.errors.UserError: width 100 …")
    (result,) = watcher.results()
    assert (result.status, result.config_hash) == ("failed", None)


def test_trials_are_numbered_as_they_are_proposed():
    _numbers.clear()
    trials = [Trial(trial_id=name) for name in ("b", "a", "c")]
    assert [_folder_name(trial) for trial in [*trials, trials[0]]] == [
        "trial-000",
        "trial-001",
        "trial-002",
        "trial-000",
    ]


def test_a_split_without_validation_instances_is_refused(tiny_pack, monkeypatch):
    from capetune.datasets.pack import Pack, open_pack

    pack = open_pack(tiny_pack)
    check_scorable(pack, 1)
    monkeypatch.setattr(Pack, "part", lambda self, split, part: [] if part == "val" else [1])
    with pytest.raises(UserError, match="holds no instance of split 1 val to score trials by"):
        check_scorable(pack, 1)
