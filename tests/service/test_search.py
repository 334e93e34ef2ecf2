"""A search's parts without Ray; bad input is in tests/cli/test_bad_input, the real thing in tests/integration."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
from rich.console import Console

from capetune.errors import UserError
from capetune.events import DataDescribed, Ended, Event
from capetune.reports.screen import Screen
from capetune.runs.record import Run, read_run, recorded
from capetune.runs.results import TrialResult
from capetune.service.search import SearchFailed
from capetune.service.sitting import _raise_if_all_failed


def failed(number, bad_input):
    why = {"error": "the loss became nan", "bad_input": bad_input, "traceback": f"t{number}/error.txt"}
    return TrialResult(number, {}, "failed", None, {}, [], 0.0, None, None, **why)


def test_when_all_trials_fail_the_first_is_said_and_where_its_traceback_is():
    with pytest.raises(UserError) as raised:
        _raise_if_all_failed([failed(1, True), failed(0, True)], Path("runs/a"))
    assert (
        str(raised.value)
        == "all 2 trials failed, the first with: the loss became nan; its traceback is in runs/a/t0/error.txt"
    )


def test_one_bug_among_them_and_it_isn_t_the_user_s_to_cure():
    with pytest.raises(SearchFailed):
        _raise_if_all_failed([failed(0, True), failed(1, False)], Path("runs/a"))


@pytest.mark.parametrize(
    ("error", "state"),
    [(None, "completed"), (KeyboardInterrupt, "interrupted"), (ValueError, "failed"), (UserError, "failed")],
)
def test_the_record_says_how_a_run_ended_and_how_an_interrupted_one_goes_on(tmp_path, capsys, error, state):
    run = Run(tmp_path / "run", "search", "running")
    heard: list[Event] = []
    ends = nullcontext() if error is None else pytest.raises(error)
    with ends, recorded(run, {"split": 1}, "the same again", heard.append):
        assert read_run(run.folder).state == "running"
        if error is not None:
            raise error
    again = read_run(run.folder)
    assert (again.state, again.facts["split"]) == (state, 1)
    assert heard == [Ended("run", state, None if state == "completed" else "the same again")]
    with Screen(Console()) as screen:
        screen.hear(heard[0])
    assert capsys.readouterr().out == ("go on with it: the same again\n" if state == "interrupted" else "")


def test_missing_categories_are_said_with_the_data(capsys):
    with Screen(Console()) as screen:
        screen.hear(DataDescribed("p", "real", 2, 7, {"val": ["a", "b"]}))
    assert capsys.readouterr().out == "data: real, split 2, 7 train instances; missing: val a, b  p\n"


def test_how_much_of_mp100_there_is_is_said_with_the_data(capsys):
    with Screen(Console()) as screen:
        screen.hear(DataDescribed("p", "real", 2, 7, {}, "86 of 100 categories of MP-100; missing: …"))
    assert capsys.readouterr().out.splitlines()[1] == "86 of 100 categories of MP-100; missing: …"
