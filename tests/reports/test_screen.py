"""Plain lines, as a log file gets them; the tables are in test_live, what a terminal shows is looked at by its end."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from capetune import events, trial_events
from capetune.reports.screen import Screen


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=80, markup=False, highlight=False)


def said(console: Console, *heard: events.Event) -> list[str]:
    with Screen(console) as screen:
        for event in heard:
            screen.hear(event)
    return console.file.getvalue().splitlines()


def test_what_is_waited_for_is_said(console: Console) -> None:
    steps = [events.StepBegan("ray", ""), events.StepBegan("workers", "2"), events.StepBegan("evaluation", "")]
    assert said(console, *steps) == ["starting Ray …", "starting the training's 2 workers …"]
    assert said(console, events.StepBegan("workers", "1"))[-1] == "starting the training's 1 worker …"


def test_pictures_that_are_left_out_take_a_line_each(console: Console) -> None:
    heard = [events.StepBegan("prediction", "2 pictures"), events.PictureLeftOut("a [b].jpg", "image unreadable")]
    assert said(console, *heard) == ["predicting 2 pictures …", "left out: a [b].jpg: image unreadable"]


def test_a_long_path_stays_on_its_line(console: Console) -> None:
    pack = "/" + "folder/" * 30
    lines = said(console, events.DataDescribed(pack, "real", 1, 200, {"val": ["left hand", "[red]"], "test": []}))
    assert lines == [f"data: real, split 1, 200 train instances; missing: val left hand, [red]  {pack}"]


def test_lost_machines_and_trials_take_a_line_each(console: Console) -> None:
    lines = said(console, events.NodeLost("10.0.0.7"), trial_events.TrialLost("run", 3, 5))
    assert lines == [
        "machine 10.0.0.7 is gone: what ran there is tried again elsewhere",
        "trial 3: its process was lost; it goes on after epoch 5",
    ]


def test_what_a_search_spares_and_why_it_ends_take_a_line_each(console: Console) -> None:
    spared = trial_events.TrialSpared("run", 4, 1, {"a": 2})
    over = trial_events.NoMoreTrials("run", "all 2 configurations [tried]")
    assert said(console, spared, over) == [
        "trial 4: the configuration of trial 1: not trained again",
        "no more trials: all 2 configurations [tried]",
    ]


def test_a_new_beginning_and_a_trace_take_a_line_each(console: Console) -> None:
    again = [events.WorkersBeganAgain("run", 3, 12, 40), events.WorkersBeganAgain("run", 3, 0, 0)]
    traced = [events.StepsTraced("run", "runs/run/trace.json.gz", 1, 3, 5), events.StepsTraced("run", "x", 1, 0, 0)]
    assert said(console, *again, *traced) == [
        "all workers begin again, after epoch 3, step 12; about 40 steps are made again",
        "all workers begin again, after epoch 3",
        "traced: steps 3 to 5 of epoch 1, in runs/run/trace.json.gz; https://ui.perfetto.dev opens it",
        "warning: epoch 1 has too few steps to trace any: nothing is written",
    ]


def test_a_job_s_epoch_says_what_took_its_time(console: Console) -> None:
    slow = {"mpck4": 0.5, "seconds_data": 31.0, "seconds_steps": 69.0}
    began = events.PromotionBegan("run", "runs/run", "real", "official pairs", 2, 0, 4)
    lines = said(console, began, events.EpochDone("run", 1, slow, job="split1-seed42"))
    assert lines[-1] == "split1-seed42: running, epoch 1/4  val mPCK4 0.500  data wait 31 %"


@pytest.mark.parametrize(("state", "lines"), [("completed", []), ("interrupted", ["go on with it: capetune x"])])
def test_who_is_interrupted_is_told_how_to_go_on(console: Console, state: str, lines: list[str]) -> None:
    assert said(console, events.Ended("run", state, "capetune x")) == lines


def test_nothing_moves_in_a_file(console: Console) -> None:
    assert said(console, events.Progress("data", 3, 10, "cat"), events.Progress("data", 10, 10, "cat")) == []


def test_a_bar_is_gone_when_it_is_full() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    with Screen(console) as screen:
        screen.hear(events.StepBegan("ray", "auto"))
        assert screen.shown is not None
        screen.hear(events.Progress("features", 1, 2, "[bold]"))
        bar = screen.shown
        assert "[bold]" in bar.tasks[0].description
        screen.hear(events.Progress("features", 2, 2, "[bold]"))
        assert screen.shown is None


def test_an_error_leaves_nothing_running() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    screen = Screen(console)
    screen.hear(events.StepBegan("ray", "auto"))
    status = screen.shown
    screen.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert screen.shown is None
    assert not status._live.is_started
