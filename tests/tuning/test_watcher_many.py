"""What the watcher does for each of thousands of trials doesn't grow with their number."""

from __future__ import annotations

import time


def test_an_epoch_is_told_without_a_look_at_all_other_trials(bench, monkeypatch):
    trial = bench.trial()
    monkeypatch.setattr(bench.study, "get_trials", None)
    bench.report(trial, 1, 0.4)
    bench.report(trial, 1, 0.5)  # trained again: what was told first stays
    monkeypatch.undo()
    assert bench.study.trials[0].intermediate_values == {1: 0.4}


def test_results_whose_writing_takes_long_are_written_now_and_then_and_at_the_end(bench):
    first, second = bench.trial(), bench.trial()
    bench.report(first, 1, 0.4)
    bench.end(first)
    bench.watcher.written = time.monotonic(), 3600.0  # for an hour
    bench.report(second, 1, 0.5)
    bench.end(second)
    assert [len(results) for results in bench.kept] == [1]
    bench.watcher.on_experiment_end([first, second])
    assert [[result.score for result in results] for results in bench.kept] == [[0.4], [0.5, 0.4]]
