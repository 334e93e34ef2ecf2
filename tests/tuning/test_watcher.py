"""The watcher, driven by trials without Ray; the search itself is in tests/integration."""

from __future__ import annotations

import json
import math
import time
from types import SimpleNamespace

import optuna
import pytest

from capetune.cluster.head import HeadLost
from capetune.events import CheckpointKept
from capetune.runs.diary import EVENTS
from capetune.runs.failures import ERROR
from capetune.runs.results import saved_results
from capetune.trial_events import TrialEnded
from capetune.tuning.ending import Limit
from capetune.tuning.goal import Goal
from capetune.tuning.space import Budget
from capetune.tuning.telling import tell_epochs

from .conftest import Bench


def test_completed_pruned_and_failed_are_three_different_ends(bench):
    full, poor, broken = bench.trial(), bench.trial(), bench.trial()
    for epoch, score in ((1, 0.4), (2, 0.6), (3, 0.5)):
        bench.report(full, epoch, score)
    bench.report(poor, 1, 0.2)
    bench.report(broken, 1, 0.9)
    bench.end(full)
    bench.end(poor)
    bench.end(broken, lost="Traceback …\n\x1b[36mray\x1b[39m\nray.exceptions.ActorDiedError: it died")

    results = bench.watcher.results()
    assert [result.number for result in results] == [0, 1, 2]
    assert [result.status for result in results] == ["completed", "pruned", "failed"]
    assert [result.score for result in results] == [0.6, 0.2, None]
    assert [result.epochs for result in results] == [3, 1, 1]
    assert results[0].history == [(1, 0.4), (2, 0.6), (3, 0.5)]
    assert results[0].metrics["epoch"] == 2
    assert results[0].seconds == 6.0
    assert [len(some) for some in bench.kept] == [1, 2, 3]
    assert [event.status for event in bench.heard if isinstance(event, TrialEnded)] == ["completed", "pruned", "failed"]
    assert bench.heard[-1].score is None


def test_the_study_knows_each_of_them_as_what_it_is(bench):
    full, poor, broken = bench.trial(), bench.trial(), bench.trial()
    for epoch in (1, 2, 3):
        bench.report(full, epoch, 0.2 * epoch)
    bench.report(poor, 1, 0.1)
    bench.end(full)
    bench.end(poor)
    (bench.folder(broken)).mkdir(parents=True)
    (bench.folder(broken) / ERROR).write_text("Traceback …\nZeroDivisionError: division by zero\n")
    bench.end(broken)
    assert [trial.state.name for trial in bench.study.trials] == ["COMPLETE", "PRUNED", "FAIL"]
    assert bench.study.best_value == 0.6000000000000001
    assert [trial.value for trial in bench.study.trials] == [0.6000000000000001, 0.1, None]
    assert [trial.intermediate_values for trial in bench.study.trials[:2]] == [
        {1: 0.2, 2: 0.4, 3: 0.6000000000000001},
        {1: 0.1},
    ]


def test_what_is_kept_of_a_trial_is_read_back_the_same(bench):
    trial = bench.trial()
    bench.report(trial, 1, 0.4)
    bench.end(trial)
    assert list(saved_results(bench.search.folder)) == bench.watcher.results()


def test_a_failed_trial_keeps_its_last_line_and_its_whole_traceback(bench):
    broken = bench.trial()
    bench.end(broken, lost="Traceback …\n\x1b[36mray::train()\x1b[39m\nZeroDivisionError: division by zero\n")
    (result,) = bench.watcher.results()
    assert result.error == "ZeroDivisionError: division by zero"
    assert not result.bad_input
    text = (bench.search.folder / result.traceback).read_text()
    assert text == "Traceback …\nray::train()\nZeroDivisionError: division by zero\n"


def test_bad_input_is_told_from_a_bug(bench):
    bench.end(bench.trial(), lost="Traceback …\ncapetune.errors.UserError: the loss became nan")
    (result,) = bench.watcher.results()
    assert result.bad_input
    assert result.error == "the loss became nan"


def test_an_error_that_is_written_late_is_waited_for(bench):
    broken = bench.trial()
    broken.status = "ERROR"
    bench.watcher.on_trial_error(0, [], broken)
    bench.watcher.on_step_end(0, [])
    assert bench.watcher.results() == []
    broken.error = "late"
    bench.watcher.on_step_end(1, [])
    assert bench.watcher.results()[0].error == "late"


def test_a_trial_that_never_says_why_is_failed_all_the_same(bench):
    silent = bench.trial()
    silent.status = "ERROR"
    bench.watcher.on_trial_error(0, [], silent)
    bench.watcher.on_experiment_end([])
    assert bench.watcher.results()[0].error == "its process was lost"


@pytest.mark.parametrize("end", [KeyboardInterrupt, HeadLost])
def test_a_process_that_ends_with_the_search_fails_no_trial(bench, end):
    trial = bench.trial()
    bench.report(trial, 1, 0.4)
    trial.status = "ERROR"
    bench.watcher.on_trial_error(0, [], trial)

    def search():
        try:
            raise end
        finally:  # as Tune cleans up
            bench.watcher.on_experiment_end([trial])

    with pytest.raises(end):
        search()
    assert bench.watcher.results() == []
    assert not (bench.folder(trial) / "result.json").exists()
    assert not (bench.folder(trial) / ERROR).exists()


def test_a_trial_that_could_not_send_ends_the_search_and_stays_open(bench):
    trial = bench.trial()
    bench.report(trial, 1, 0.4)
    bench.end(trial, lost="ray::run_trial()\ncapetune.tuning.trial.Away: s3://b/runs: the store answers 503")
    assert bench.limit.away == "s3://b/runs: the store answers 503"
    assert bench.watcher.results() == []


def test_values_that_do_not_go_together_do_not_end_the_search(bench):
    bench.end(bench.trial(**{"model.width": 100}), lost="capetune.errors.UserError: width 100 …")
    (result,) = bench.watcher.results()
    assert (result.status, result.config_hash) == ("failed", None)


def test_only_the_best_trials_keep_a_checkpoint_and_only_their_best(bench):
    trials = [bench.trial() for _ in range(5)]
    for trial, score in zip(trials, (0.3, 0.5, 0.2, 0.6, 0.4), strict=True):
        bench.report(trial, 1, score)
        bench.report(trial, 2, score / 2)
        bench.end(trial)
    folder = bench.search.folder
    left = sorted(str(file.parent.relative_to(folder)) for file in folder.glob("**/meta.json"))
    assert left == [f"trials/trial-{number:03d}/epoch-0001" for number in (1, 3, 4)]
    kept = {result.number: result.checkpoint for result in bench.watcher.results()}
    assert [kept[number] is None for number in range(5)] == [True, False, True, False, False]
    assert {result.number: result.checkpoint for result in saved_results(bench.search.folder)} == kept


def test_a_running_trial_s_checkpoints_are_left_alone(bench):
    running = bench.trial()
    bench.report(running, 1, 0.01)
    for score in (0.3, 0.5, 0.2, 0.6):
        trial = bench.trial()
        bench.report(trial, 1, score)
        bench.end(trial)
    assert (bench.folder(running) / "epoch-0001/meta.json").is_file()


def test_two_trials_of_one_configuration_raise_an_alarm(bench):
    first, second, third = (bench.trial(**{"loss.tokens": value}) for value in (0.5, 0.7, 0.5))
    for trial in (first, second, third):
        bench.report(trial, 1, 0.4)
        bench.end(trial)
    assert {result.number: result.twin for result in bench.watcher.results()} == {0: None, 1: None, 2: 0}
    assert [e.twin for e in bench.heard if e.trial == 2 and not isinstance(e, CheckpointKept)] == [0, 0, 0]


def test_events_are_kept_as_lines_of_json(bench):
    trial = bench.trial()
    bench.report(trial, 1, 0.4)
    bench.end(trial)
    rows = [json.loads(line) for line in (bench.search.folder / EVENTS).read_text().splitlines()]
    assert [(row["event"], row.get("status"), row["epoch"], row.get("score")) for row in rows] == [
        ("trial_started", None, 0, None),
        ("epoch_done", None, 1, 0.4),
        ("checkpoint_kept", None, 1, None),
        ("trial_ended", "pruned", 1, 0.4),
    ]
    assert [event.to_json() for event in bench.heard] == [{k: v for k, v in row.items() if k != "time"} for row in rows]
    assert all(abs(row["time"] - time.time()) < 60 for row in rows)


def test_a_trial_that_the_budget_cut_off_stays_open(bench):
    bench.limit.budget = Budget(epochs=1)
    trial = bench.trial()
    bench.report(trial, 1, 0.4)
    bench.end(trial)
    (result,) = bench.watcher.results()
    assert (result.status, result.score) == ("stopped", 0.4)
    assert list(saved_results(bench.search.folder)) == []
    assert bench.study.trials[0].state.name == "RUNNING"


def test_trials_that_the_budget_cut_off_are_results_too_when_the_search_ends(bench):
    """Of those Tune says nothing but that the experiment has ended."""
    done, cut, fresh = (bench.trial() for _ in range(3))
    bench.report(done, 3, 0.5)
    bench.end(done)
    bench.report(cut, 1, 0.4)
    bench.watcher.on_experiment_end([done, cut, fresh])  # Ctrl-C
    assert len(bench.watcher.results()) == 1
    bench.limit.budget = Budget(epochs=2)
    bench.watcher.on_experiment_end([done, cut, fresh])
    assert [(result.number, result.status) for result in bench.watcher.results()] == [(0, "completed"), (1, "stopped")]


def test_a_full_disk_ends_the_search_and_fails_no_trial(bench):
    trial = bench.trial()
    bench.report(trial, 1, 0.4)
    assert not bench.limit.stop_all()
    bench.end(trial, lost="ray::run_trial()\ncapetune.tuning.trial.DiskFull: runs/x/trials/trial-000")
    assert bench.limit.stop_all()
    assert bench.watcher.results() == []
    assert bench.study.trials[0].state.name == "RUNNING"
    assert not (bench.folder(trial) / ERROR).exists()


def test_a_limit_ends_a_search_when_its_first_measure_is_spent():
    none, epochs = Limit(Budget()), Limit(Budget(epochs=3), spent=1)
    for _ in range(2):
        assert not epochs.stop_all()
        epochs("id", {})
        none("id", {})
    assert epochs.stop_all()
    assert not none.stop_all()
    assert Limit(Budget(hours=1), begun=time.time() - 3601).stop_all()
    assert not Limit(Budget(hours=1)).stop_all()


def test_a_study_is_told_of_epochs_without_a_copy_of_all_its_trials(monkeypatch):
    """With a thousand trials a copy takes a quarter of a second, for each epoch of each trial."""
    study = optuna.create_study()
    study.ask()
    monkeypatch.setattr(optuna.Study, "trials", property(lambda study: pytest.fail("it copies every trial")))
    tell_epochs(study, 0, [(1, 0.5), (2, 0.4)])
    tell_epochs(study, 0, [(2, 0.4), (3, 0.3)])
    assert study.get_trials(deepcopy=False)[0].intermediate_values == {1: 0.5, 2: 0.4, 3: 0.3}


def test_what_a_trial_s_process_does_next_is_named_by_the_trial_its_epoch_and_its_score(bench):
    trial, other = bench.trial(), bench.trial()
    named = [trial.temporary_state.ray_actor.train.name]
    for epoch, score in ((1, 0.4), (2, 0.6), (3, 0.5)):
        bench.report(trial, epoch, score)
        named.append(trial.temporary_state.ray_actor.train.name)
    assert named == [
        "Trial 0 of run: epoch 1 of 3",
        "Trial 0 of run: epoch 2 of 3, mpck4 0.400 so far",
        "Trial 0 of run: epoch 3 of 3, mpck4 0.600 so far",
        "Trial 0 of run: its end, mpck4 0.600 so far",
    ]
    assert other.temporary_state.ray_actor.train.name == "Trial 1 of run: epoch 1 of 3"


def test_failures_of_different_kinds_or_with_a_good_end_between_do_not_end_a_search(bench):
    def fail(why):
        bench.end(bench.trial(), lost=f"Traceback …\nValueError: {why}")

    fail("one of 3")
    fail("one of 4")
    fail("another")
    fail("one of 5")
    good = bench.trial()
    bench.report(good, 3, 0.5)
    bench.end(good)
    fail("one of 6")
    fail("one of 7")
    assert not bench.limit.stop_all()
    fail("one of 8")
    assert bench.limit.broken == "3 trials on end failed of this: ValueError: one of 8"
    assert bench.limit.stop_all()


def fail_by_itself(bench, trial):
    bench.folder(trial).mkdir(parents=True, exist_ok=True)
    (bench.folder(trial) / ERROR).write_text("Traceback …\nKeyError: 'joints'\n")
    bench.end(trial)


def test_a_default_that_fails_by_itself_ends_the_search(bench):
    fail_by_itself(bench, bench.trial())
    assert bench.limit.stop_all()
    assert bench.limit.broken.endswith("the search begins with, failed of this: KeyError: 'joints'")


def test_a_default_whose_machine_is_lost_does_not_nor_another_trial(bench):
    bench.end(bench.trial(), lost="ray.exceptions.ActorDiedError: it died")
    fail_by_itself(bench, bench.trial())
    assert not bench.limit.stop_all()


def test_nor_a_default_that_fails_when_another_has_a_score(bench):
    default, other = bench.trial(), bench.trial()
    bench.report(other, 3, 0.5)
    bench.end(other)
    fail_by_itself(bench, default)
    assert not bench.limit.stop_all()


def test_a_search_is_over_when_so_many_trials_were_no_better(search):
    bench = Bench(search(budget=Budget(stale=2)))
    for score, over in ((0.4, False), (0.3, False), (0.5, False), (0.45, False), (None, False), (0.5, True)):
        trial = bench.trial()
        if score is None:
            bench.end(trial, lost="ValueError: no")
        else:
            bench.report(trial, 3, score)
            bench.end(trial)
        assert (bench.watcher.over() is not None) == over
    assert bench.watcher.over() == "none of 2 since is better than trial 2 (budget: stale)"


def test_a_trial_that_diverged_is_the_worst_to_the_sampler_and_nothing_else(bench):
    """Not one of the best, though its first epoch was; not a failure that ends the search; never tried again."""
    for number in range(3):
        wild = bench.trial()
        bench.report(wild, 1, 0.9)
        error = f"capetune.errors.Diverged: the loss became nan at learning rate 1 (step {number})"
        bench.end(wild, lost=f"Traceback …\n{error}")
    good = bench.trial()
    bench.report(good, 3, 0.5)
    bench.end(good)
    best, *others = bench.watcher.results()
    assert best.number == 3
    assert {result.status for result in others} == {"diverged"}
    assert others[2].error == "the loss became nan at learning rate 1 (step 2)"
    assert others[2].bad_input
    assert [trial.state.name for trial in bench.study.trials] == ["COMPLETE"] * 4
    assert [trial.value for trial in bench.study.trials] == [-math.inf] * 3 + [0.5]
    assert bench.study.best_trial.number == 3
    assert not bench.limit.stop_all()
    assert [result.status for result in saved_results(bench.search.folder)] == ["diverged"] * 3 + ["completed"]
    bench.study.ask().suggest_float("loss.tokens", 0.05, 2, log=True)  # TPE's next, with these among its trials


def test_of_a_loss_that_is_to_fall_the_worst_is_the_largest(search):
    assert Goal(("val_loss", "mpck4"), ("min", "max")).values(SimpleNamespace(status="diverged")) == [
        math.inf,
        -math.inf,
    ]
