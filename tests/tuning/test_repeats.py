"""Trials of several seeds, as their folders tell; the real training of them is in tests/integration."""

from __future__ import annotations

import json
from statistics import fmean, stdev

import pytest

from capetune.errors import UserError
from capetune.runs.history import add_to_history
from capetune.runs.results import repeat_folder, saved_results, trial_rows
from capetune.tuning.repeats import repeated_epochs, whole
from capetune.tuning.study import _ended_unsaid

from .conftest import Bench

THREE = "repeats: 3\nloss.tokens: {log: [0.05, 2]}\n"


def repeat(bench, trial, number, scores):
    for epoch, score in enumerate(scores, start=1):
        metrics = {"epoch": epoch, "mpck4": score, "template_mpck4": 0.3, "pck_0.2": score, "seconds": 2.0}
        add_to_history(repeat_folder(bench.folder(trial), number), metrics)


def test_the_mean_over_seeds_is_the_score_and_is_told_once(search):
    bench = Bench(search(THREE))
    trial = bench.trial()
    for epoch, score in ((1, 0.4), (2, 0.6), (3, 0.5)):
        bench.report(trial, epoch, score)
    repeat(bench, trial, 1, (0.1, 0.2, 0.3))
    repeat(bench, trial, 2, (0.1, 0.5, 0.3))
    bench.end(trial)
    (result,) = bench.watcher.results()
    assert result.status == "completed"
    assert result.seeds == [0.6, 0.3, 0.5]
    assert result.score == result.metrics["mpck4"] == pytest.approx(fmean(result.seeds))
    assert result.spread == pytest.approx(stdev(result.seeds))
    assert result.metrics["epoch"] == 2
    assert result.checkpoint == "trials/trial-000/epoch-0002"
    assert result.seconds == 18.0
    (told,) = bench.study.trials
    assert told.value == pytest.approx(fmean(result.seeds))
    assert told.intermediate_values == {1: 0.4, 2: 0.6, 3: 0.5}
    assert bench.heard[-1].score == result.score
    assert list(saved_results(bench.search.folder)) == [result]
    assert trial_rows([result])[0]["spread"] == result.spread
    assert bench.limit.spent == 9


def test_what_the_scheduler_stops_is_not_repeated_and_has_no_spread(search):
    bench = Bench(search(THREE))
    trial = bench.trial()
    bench.report(trial, 1, 0.4)
    bench.end(trial)
    (result,) = bench.watcher.results()
    assert (result.status, result.score, result.seeds, result.spread) == ("pruned", 0.4, [], None)


def test_a_trial_has_not_ended_before_its_last_seed_has(search):
    one = search(THREE)
    bench = Bench(one)
    trial = bench.trial()
    for epoch in (1, 2, 3):
        bench.report(trial, epoch, 0.4)
    (bench.folder(trial) / "trial.json").write_text(json.dumps(trial.config))
    history = [{"epoch": 3}]
    repeat(bench, trial, 1, (0.1, 0.2, 0.3))
    repeat(bench, trial, 2, (0.1, 0.5))
    assert repeated_epochs(one, bench.folder(trial)) == 5
    assert not whole(one, bench.folder(trial), history)
    assert not _ended_unsaid(one, 0)
    repeat(bench, trial, 2, (0.1, 0.5, 0.6))
    assert whole(one, bench.folder(trial), history)
    assert _ended_unsaid(one, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("repeats: 0\n", "line 1: repeats: "),
        (
            "repeats: 3\nscheduler: hyperband\n",
            "hyperband moves trials about between epochs: take scheduler asha or none",
        ),
        (
            "repeats: 3\nseed: {int: [1, 5]}\n",
            "line 1: repeats: the space varies seed itself: leave one of the two out",
        ),
    ],
)
def test_what_can_not_be_repeated_is_refused(read, text, said):
    with pytest.raises(UserError, match=said):
        read(f"{text}loss.tokens: {{log: [0.05, 2]}}\n")


def test_a_search_goes_on_with_its_repeats(read):
    text = "loss.tokens: {log: [0.05, 2]}\n"
    with pytest.raises(UserError, match="goes on with its repeats: 1"):
        read(f"repeats: 2\n{text}").check_extends(read(text))
