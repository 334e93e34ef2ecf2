"""`capetune search` without Ray; bad input is in test_bad_input, the real thing in tests/integration."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from capetune.cli import common
from capetune.cli.search import SearchFailed, _all_failed
from capetune.errors import UserError
from capetune.runs.record import Run, read_run
from capetune.runs.results import TrialResult


def failed(number, bad_input):
    why = {"error": "the loss became nan", "bad_input": bad_input, "traceback": f"t{number}/error.txt"}
    return TrialResult(number, {}, "failed", None, {}, [], 0.0, None, None, **why)


def test_when_all_trials_fail_the_first_is_said_and_where_its_traceback_is():
    error = _all_failed([failed(1, True), failed(0, True)], Path("runs/a"))
    assert isinstance(error, UserError)
    assert (
        str(error)
        == "all 2 trials failed, the first with: the loss became nan; its traceback is in runs/a/t0/error.txt"
    )


def test_one_bug_among_them_and_it_isn_t_the_user_s_to_cure():
    assert isinstance(_all_failed([failed(0, True), failed(1, False)], Path("runs/a")), SearchFailed)


@pytest.mark.parametrize(
    ("error", "state"),
    [(None, "completed"), (KeyboardInterrupt, "interrupted"), (ValueError, "failed"), (UserError, "failed")],
)
def test_the_record_says_how_a_run_ended_and_how_an_interrupted_one_goes_on(tmp_path, capsys, error, state):
    run = Run(tmp_path / "run", "search", "running")
    console, ends = common.console(), nullcontext() if error is None else pytest.raises(error)
    with ends, common.recorded(run, {"split": 1}, "the same again", console):
        assert read_run(run.folder).state == "running"
        if error is not None:
            raise error
    again = read_run(run.folder)
    assert (again.state, again.facts["split"]) == (state, 1)
    assert capsys.readouterr().out == ("go on with it: the same again\n" if state == "interrupted" else "")


def test_missing_categories_are_said_with_the_data(capsys):
    facts = {"data": "real", "split": 2, "train_instances": 7, "pack": "p", "missing_categories": {"val": ["a", "b"]}}
    common.say_data(facts, common.console())
    assert capsys.readouterr().out == "data: real, split 2, 7 train instances; missing: val a, b  p\n"
