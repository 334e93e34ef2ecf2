from __future__ import annotations

import pytest

from capetune.errors import UserError
from capetune.runs.results import TrialResult, read_results, save_result, saved_overrides, saved_results, trial_folder


@pytest.mark.parametrize("content", ["", "{", "[]", '{"trials": [3]}', '{"trials": {}}'])
def test_results_that_are_damaged_are_said_with_the_cure(tmp_path, content):
    assert read_results(tmp_path) == {}
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(UserError, match=r"results.json is .*; `capetune runs mend .*` makes it anew"):
        read_results(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"overrides": 3}', '{"overrides": {}'])
def test_a_trial_s_damaged_values_are_said(tmp_path, content):
    assert saved_overrides(tmp_path) is None
    (tmp_path / "trial.json").write_text(content)
    with pytest.raises(UserError, match=r"trial.json is .*; remove it, and the trial goes on"):
        saved_overrides(tmp_path)


def test_trials_come_in_the_order_of_their_numbers_beyond_three_digits(tmp_path):
    for number in (1000, 2, 101, 99, 10):
        trial_folder(tmp_path, number).mkdir(parents=True)
        save_result(tmp_path, TrialResult(number, {}, "completed", 0.5, {}, [(1, 0.5)], 1.0, "a", None))
    for stray in ("trial-copy", "trial-"):
        (tmp_path / "trials" / stray).mkdir()
        (tmp_path / "trials" / stray / "result.json").write_text("{}")
    assert [result.number for result in saved_results(tmp_path)] == [2, 10, 99, 101, 1000]
