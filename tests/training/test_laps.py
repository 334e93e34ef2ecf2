from __future__ import annotations

import time

import pytest

from capetune.config import Config
from capetune.training.laps import Laps, laps_on

from .conftest import Run


def test_what_lies_before_a_mark_belongs_to_the_part_that_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([10.0, 10.5, 12.5, 12.75])
    monkeypatch.setattr(time, "perf_counter", lambda: next(moments))
    laps = laps_on("cpu")
    for part in ("data", "forward", "data"):
        laps.mark(part)
    assert type(laps) is Laps
    assert laps.read() == {"data": 0.75, "forward": 2.0}


def test_an_epoch_s_parts_are_parts_of_its_steps(run: Run) -> None:
    for metrics in run.metrics:
        parts = [metrics[f"seconds_{part}"] for part in ("copy", "forward", "backward", "optimiser")]
        assert min(parts) > 0
        assert sum(parts) <= metrics["seconds_steps"]


def test_the_rate_of_an_epoch_is_that_of_its_last_step(run: Run, config: Config) -> None:
    """Two steps of six warm up; of the four of the cosine the third and the sixth end an epoch."""
    full = config.train.learning_rate
    share = [1.0, 0.5 * (1 - 0.5**0.5)]
    assert [metrics["learning_rate"] for metrics in run.metrics] == pytest.approx([full * each for each in share])
