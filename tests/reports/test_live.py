from __future__ import annotations

import io

import pytest
from rich.console import Console

from capetune.events import EpochDone, StepsDone
from capetune.reports.live import SearchView, TrainView
from capetune.reports.words import clock, short, tails
from capetune.trial_events import TrialEnded, TrialStarted
from capetune.tuning.goal import Goal

KEYS = ["loss.tokens", "model.decoder.layers"]
GOAL = Goal(("mpck4",), ("max",))
METRICS = {"epoch": 2, "mpck4": 0.4, "template_mpck4": 0.3, "forced_mpck4": 0.5, "pck_0.2": 0.6} | {
    f"{part}_{name}": 1.5 for part in ("train", "val") for name in ("loss", "tokens", "coordinates")
}


def event(trial, state="running", epoch=0, score=None, error=None):
    values = {"loss.tokens": 0.25, "model.decoder.layers": 3}
    if state != "running":
        return TrialEnded("run", trial, state, values, epoch, score, 0.3, error=error)
    if epoch == 0:
        return TrialStarted("run", trial, values, epoch, score, 0.3)
    return EpochDone("run", epoch, {}, trial, score=score, template=0.3, overrides=values)


@pytest.fixture
def plain():
    return Console(file=io.StringIO(), width=100, markup=False, highlight=False)


@pytest.fixture
def terminal():
    return Console(file=io.StringIO(), width=100, height=14, force_terminal=True, markup=False, highlight=False)


def shown(console, view):
    with console.capture() as capture:
        console.print(view.render())
    return [line.rstrip() for line in Console(file=io.StringIO()).render_str(capture.get()).plain.splitlines()]


def test_without_a_terminal_every_event_is_a_line(plain):
    with SearchView(plain, 2, 4, KEYS, GOAL) as view:
        view.hear(event(0))
        view.hear(event(0, epoch=1, score=0.4))
        view.hear(event(0, "pruned", 1, 0.4))
        view.hear(event(1, "failed", error="ValueError: [no] such"))
    assert plain.file.getvalue().splitlines() == [
        "trial 0 (default): started  tokens=0.25  layers=3",
        "trial 0 (default): running, epoch 1/4  best mPCK4 0.400 (template 0.300)",
        "trial 0 (default): pruned, epoch 1/4  best mPCK4 0.400 (template 0.300)  tokens=0.25  layers=3",
        "trial 1: failed, epoch 0/4  tokens=0.25  layers=3  ValueError: [no] such",
    ]


def test_the_table_has_running_trials_first_then_the_best_down(plain):
    view = SearchView(plain, 6, 4, KEYS, GOAL)
    for one in (
        event(0, "completed", 4, 0.4),
        event(1, "completed", 4, 0.5),
        event(2, "failed", error="E: why"),
        event(3, epoch=1, score=0.2),
    ):
        view.hear(one)
    plain.file.truncate(0)
    lines = shown(plain, view)
    assert [line.split()[0] for line in lines[1:5]] == ["3", "1★", "0", "2"]
    assert "failed: E: why" in lines[4]
    assert "3/6 trials" in lines[-2]
    assert "at most" in lines[-2]
    assert lines[-1].startswith("best: trial 1, mPCK4 0.500, +0.200 to the template   1 running, 2 completed, 1 failed")


def test_the_table_fits_the_screen(terminal):
    view = SearchView(terminal, 100, 4, KEYS, GOAL)
    for number in range(60):
        view.hear(event(number, "completed", 4, 0.001 * number))
    assert len(shown(terminal, view)) <= terminal.height
    assert "52 not shown" in "\n".join(shown(terminal, view))


def test_before_the_first_epoch_there_is_no_best(plain):
    view = SearchView(plain, 3, 4, KEYS, GOAL)
    assert "no trial has finished an epoch yet" in "\n".join(shown(plain, view))
    view.hear(event(0))
    assert "no trial has finished an epoch yet" in "\n".join(shown(plain, view))


def test_a_live_table_is_drawn_and_goes_when_all_is_well(terminal):
    with SearchView(terminal, 1, 4, KEYS, GOAL) as view:
        view.hear(event(0, "completed", 4, 0.5))
        view.live.refresh()
    assert "best: trial 0" in terminal.file.getvalue()


def test_an_epoch_is_a_line_and_the_best_is_marked(plain):
    with TrainView(plain, 3, history=[{"epoch": 1, "mpck4": 0.35}]) as view:
        view.hear(StepsDone("run", 2, 3, 5))
        view.hear(EpochDone("run", 2, METRICS))
        view.hear(EpochDone("run", 3, METRICS | {"epoch": 3, "mpck4": 0.39}))
    first, second = plain.file.getvalue().splitlines()
    assert first.startswith(
        "epoch 2/3 after 0:00  val mPCK4 0.400 (template 0.300, teacher-forced 0.500)  PCK@.2 0.600  "
    )
    assert "train/val loss 1.500/1.5" in first
    assert first.endswith("  best")
    assert "best" not in second


def test_what_else_than_learning_took_much_of_an_epoch_is_said_in_a_few_words(plain, terminal):
    slow = METRICS | {"seconds_data": 31.0, "seconds_steps": 60.0, "seconds_validation": 9.0}
    with TrainView(plain, 3, history=[{"epoch": 1, "mpck4": 0.35}]) as view:
        view.hear(EpochDone("run", 2, slow))
        view.hear(EpochDone("run", 3, METRICS | {"epoch": 3, "seconds_data": 0.0, "seconds_steps": 60.0}))
    first, second = plain.file.getvalue().splitlines()
    assert first.endswith("  data wait 31 %  best")
    assert second.endswith("coordinates 1.5000/1.5000")
    with TrainView(terminal, 3) as view:
        view.hear(EpochDone("run", 2, slow))
        view.hear(StepsDone("run", 3, 1, 5))
        assert view.bar.tasks[0].fields["note"] == "11/15 steps, data wait 31 %"


def test_the_bar_knows_how_far_it_is(terminal):
    with TrainView(terminal, 3) as view:
        view.hear(StepsDone("run", 2, 3, 5))
        task = view.bar.tasks[0]
        assert (task.completed, task.total, task.description) == (8, 15, "epoch 2/3")
        view.hear(StepsDone("run", 2, 5, 5))
        assert task.description == "epoch 2/3, validating"
        assert task.fields["note"].startswith("10/15 steps, about ")


def test_names_are_cut_as_short_as_they_stay_their_own():
    assert tails(["loss.tokens", "model.width"]) == ["tokens", "width"]
    assert tails(["model.support.layers", "model.decoder.layers", "seed"]) == [
        "support.layers",
        "decoder.layers",
        "seed",
    ]


def test_values_and_times_are_short():
    assert [short(value) for value in (0.123456, 3, "point", None, True)] == ["0.123", "3", "point", "None", "True"]
    assert [clock(seconds) for seconds in (0, 61, 3599.4, 3600, 90061)] == [
        "0:00",
        "1:01",
        "59:59",
        "1:00:00",
        "25:01:01",
    ]
