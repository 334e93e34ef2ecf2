"""What a meter tells, by instruments that write it down; Ray's own are read in tests/integration/test_prometheus.py."""

from __future__ import annotations

import time

import pytest

from capetune.cluster import gauges
from capetune.cluster.gauges import metered, states_counted
from capetune.events import EpochDone, JobChanged
from capetune.trial_events import TrialEnded, TrialStarted


class Recorder:
    def __init__(self, name: str, told: list) -> None:
        self.tell = lambda value, tags: told.append((name, value, tags))
        self.set = self.inc = self.observe = self.tell


@pytest.fixture
def told(monkeypatch) -> list:
    found: list = []
    made = {name: Recorder(name, found) for name in gauges._instruments()}
    monkeypatch.setattr(gauges, "_instruments", lambda: made)
    return found


def of(told: list, name: str) -> list:
    return [value for metric, value, _ in told if metric == name]


def test_they_are_eight() -> None:
    assert sorted(instrument.info["name"] for instrument in gauges._instruments().values()) == [
        "capetune_data_wait_seconds_total",
        "capetune_epoch",
        "capetune_gpu_memory_bytes",
        "capetune_images_total",
        "capetune_loss",
        "capetune_mpck4",
        "capetune_step_seconds",
        "capetune_trials",
    ]


def test_images_and_steps_are_told_of_together_and_none_is_lost(told) -> None:
    with metered("night", "trial-003", 0, 4, "cpu") as meter:
        for step in (1, 2, 3):
            meter.step(1, 3, step)
            time.sleep(0.01)
        meter.epoch({"epoch": 1.0, "train_loss": 2.5, "mpck4": 0.25})
        meter.step(2, 3, 1)
    assert sum(of(told, "images_total")) == 12  # the first step of the second epoch is told within a second
    assert len(of(told, "step_seconds")) == 2  # what lies before an epoch's first step is no step
    assert min(of(told, "step_seconds")) >= 0.01
    assert of(told, "epoch") == [pytest.approx(1 / 3), 1.0, 1.0]
    assert (of(told, "loss"), of(told, "mpck4")) == ([2.5], [0.25])
    assert told[0][2] == {"run": "night", "trial": "trial-003", "rank": "0"}
    assert not of(told, "data_wait_seconds_total")  # the loop doesn't tell
    assert not of(told, "gpu_memory_bytes")


def test_the_wait_for_data_is_counted_where_the_loop_tells_of_it(told) -> None:
    with metered("night", "", 1, 4, "cpu") as meter:
        for _ in range(2):
            meter.epoch({"epoch": 1.0, "train_loss": 2.5, "mpck4": 0.25, "seconds_data": 1.5})
    assert of(told, "data_wait_seconds_total") == [1.5, 1.5]
    assert not of(told, "mpck4")  # all ranks have the same: the first tells


def test_what_does_not_change_is_told_again_until_the_end(told, monkeypatch) -> None:
    monkeypatch.setattr(gauges, "AGAIN", 0.02)
    with metered("night", "", 0, 4, "cpu") as meter:
        meter.epoch({"epoch": 1.0, "train_loss": 2.5, "mpck4": 0.25})
        time.sleep(0.2)
    assert len(of(told, "mpck4")) > 2
    count = len(told)
    time.sleep(0.1)
    assert len(told) == count


def test_trials_and_jobs_are_counted_by_their_state(told) -> None:
    heard: list = []
    with states_counted("night", heard.append) as hear:
        hear(TrialStarted("night", 0, {}))
        hear(TrialStarted("night", 1, {}))
        hear(EpochDone("night", 1, {}, trial=0))
        hear(TrialEnded("night", 0, "pruned", {}, 1, 0.5, None))
        hear(JobChanged("night", "split1-seed0", "scoring"))
    latest = {tags["state"]: value for _, value, tags in told}
    assert latest == {"running": 1, "pruned": 1, "scoring": 1}
    assert len(heard) == 5
    assert told[0][2] == {"run": "night", "state": "running"}
