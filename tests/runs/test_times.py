from __future__ import annotations

import pytest

from capetune.runs.times import notable, parts

WHOLE = {"epoch": 1, "seconds_data": 3.0, "seconds_copy": 0.5, "seconds_forward": 1.0, "seconds_backward": 2.0}
WHOLE |= {"seconds_optimiser": 0.5, "seconds_steps": 4.25, "seconds_validation": 2.0}
WHOLE |= {"seconds_checkpoint": 0.5, "seconds_upload": 0.25, "seconds": 9.5}


def test_parts_are_in_the_order_of_an_epoch_and_what_is_left_of_the_steps_is_other():
    assert list(parts(WHOLE).items()) == [
        ("data", 3.0),
        ("copy", 0.5),
        ("forward", 1.0),
        ("backward", 2.0),
        ("optimiser", 0.5),
        ("other", 0.25),
        ("validation", 2.0),
        ("checkpoint", 0.5),
        ("upload", 0.25),
    ]


def test_a_step_that_is_one_graph_and_an_older_history_tell_of_steps_only():
    old = {"seconds_data": 3.0, "seconds_steps": 4.0, "seconds_validation": 2.0}
    assert parts(old) == {"data": 3.0, "step": 4.0, "validation": 2.0}
    assert parts(old | {"seconds_copy": 1.0}) == {"data": 3.0, "copy": 1.0, "step": 3.0, "validation": 2.0}
    assert parts({"epoch": 1, "seconds": 3.0}) == {}


def test_a_gpu_s_clock_may_run_ahead_of_the_wall_s_and_nothing_is_below_zero():
    assert parts({"seconds_copy": 1.0, "seconds_forward": 3.5, "seconds_steps": 4.0})["other"] == 0.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "data wait 30 %"),
        ({"seconds_data": 0.1}, ""),
        ({"seconds_data": 0.1, "seconds_validation": 4.0}, "validation 44 %"),
        ({"seconds_data": 0.5, "seconds_upload": 4.0}, "upload wait 36 %"),
        ({"seconds_data": 0.0, "seconds_validation": 0.0}, "copy 10 %, checkpoint 10 %"),
        ({"seconds_data": 0.0, "seconds_steps": 400.0}, ""),
        ({"recompiled": 12.0}, "data wait 30 %, compiled again 12 times"),
    ],
)
def test_what_takes_much_of_an_epoch_is_said_in_a_few_words(changes, words):
    assert notable(WHOLE | changes) == words


def test_where_no_time_is_told_nothing_is_said():
    assert notable({"epoch": 1}) == notable({"seconds_data": 0.0, "seconds_steps": 0.0}) == ""
