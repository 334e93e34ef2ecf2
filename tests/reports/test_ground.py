from __future__ import annotations

import math

import pytest

from capetune.reports.ground import common_epoch, ground
from capetune.reports.panels import panels
from capetune.reports.story import Row, read_story

from .conftest import CONDITIONAL, TRADE


def row(number: int, state: str, epochs: int, scores: dict[int, float] | None = None) -> Row:
    history = [{"epoch": e, "mpck4": (scores or {}).get(e, 0.1 * e)} for e in range(1, epochs + 1)]
    return Row(number, state, {}, {}, history, 0.0, 0)


@pytest.mark.parametrize(
    ("trials", "epoch"),
    [
        ([("completed", 9), ("pruned", 1), ("pruned", 3), ("pruned", 1)], 1),
        ([("completed", 9), ("pruned", 3), ("pruned", 3)], 3),  # no trial was stopped before: the later, the better
        ([("completed", 9), ("pruned", 3), ("running", 1)], 3),  # one that has just begun takes nobody back
        ([("running", 2), ("unfinished", 1)], 1),  # unless there are no others
        ([("completed", 9), ("completed", 9), ("failed", 2)], None),
        ([("completed", 9), ("running", 2)], None),
        ([("completed", 9), ("stopped", 2)], 9),
        ([("failed", 2)], None),
        ([], None),
    ],
)
def test_the_epoch_is_the_last_that_the_most_trials_have_reached(trials, epoch):
    assert common_epoch([row(number, *what) for number, what in enumerate(trials)], "mpck4") == epoch


def test_what_is_no_number_is_no_score():
    rows = [row(0, "pruned", 3, {3: math.nan}), row(1, "pruned", 3, {1: math.inf}), row(2, "completed", 9)]
    assert common_epoch(rows, "mpck4") == 2


def test_trials_keep_their_numbers_and_those_without_the_score_have_failed(make_search):
    story = read_story(make_search("some", ["completed", "failed", "pruned", "pruned"]))
    on = ground(story, 0)
    assert (on.epoch, on.score, on.words) == (1, "mPCK4 after epoch 1", "scores after epoch 1 of 3 of 4 trials")
    assert [trial.state.name for trial in on.study.trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert [trial.number for trial in on.scored] == [0, 2, 3]
    first = {row.number: row.history[0]["mpck4"] for row in story.rows if row.history}
    assert {trial.number: trial.value for trial in on.scored} == first


def test_of_two_metrics_each_figure_has_its_own_scores(make_search):
    story = read_story(make_search("trade", ["completed", "completed", "stopped", "stopped"], TRADE))
    of = {place: {trial.number: trial.value for trial in ground(story, place).scored} for place in (0, 1)}
    assert ground(story, 1).score == "generate_ms after epoch 6"
    last = {row.number: row.history[-1] for row in story.rows if row.epochs == 6}
    assert of == {
        place: {number: epoch[metric] for number, epoch in last.items()}
        for place, metric in enumerate(("mpck4", "generate_ms"))
    }


def test_keys_under_a_condition_have_importances_from_early_scores_too(make_search):
    run = make_search("conditional", ["completed", *["pruned"] * 7], CONDITIONAL)
    panel = next(panel for panel in panels(read_story(run)) if panel.kind == "importances")
    assert panel.why is None
    assert "from the scores after epoch 1 of all 8 trials" in panel.note


def test_a_key_that_one_trial_alone_has_costs_no_figure(make_search):
    space = CONDITIONAL.replace("layers: {int: [1, 6]}", "layers: {int: [1, 6], when: {model.vocabulary: 64}}")
    story = read_story(make_search("rare", ["completed", *["pruned"] * 7], space))
    assert sum("model.decoder.layers" in row.overrides for row in story.rows) == 1
    assert {panel.kind for panel in panels(story) if panel.why} == set()
