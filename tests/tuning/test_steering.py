"""What a running search takes up from outside, on trials that are driven by hand; the rest is in tests/integration."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from capetune.events import Doubted
from capetune.runs.results import VALUES, saved_results
from capetune.runs.steering import Requests, Steer
from capetune.storage.hold import held
from capetune.trial_events import SearchSteered, TrialEnded
from capetune.tuning.rebuild import rebuild
from capetune.tuning.searcher import StudySearcher
from capetune.tuning.space import Budget
from capetune.tuning.steering import Steering
from capetune.tuning.storage import open_storage
from capetune.tuning.study import _searched, _study
from capetune.tuning.twins import begun

from .conftest import Bench

SPACE = "sampler: random\npoints: [{loss.tokens: 1.5}, {loss.tokens: 1.6}]\nloss.tokens: {log: [0.05, 2]}\n"


class Sitting:
    """A search's own parts as `run_search` puts them together, without Tune."""

    def __init__(self, search, taken=0, fixed=False):
        self.bench = Bench(search, saved_results(search.folder))
        self.bench.study = _study(search, open_storage(search.folder, None))
        watcher = self.bench.watcher
        watcher.study = watcher.twins.study = self.bench.study
        self.noted = []
        self.steering = Steering(watcher, lambda *told: self.noted.append(told), taken, fixed)
        ended = {result.number for result in saved_results(search.folder)}
        unfinished = [trial for trial in begun(self.bench.study) if trial.number not in ended]
        ears = (watcher.twins, watcher.over, watcher.say, None, self.steering.next_point)
        trials = (unfinished, self.steering.due)
        self.steering.searcher = StudySearcher(self.bench.study, search.space, search.folder, *trials, *ears)
        self.steering.hand = self
        self.reopened = 0

    def reopen(self):
        self.reopened += 1

    def end(self, trial):
        trial.status = "TERMINATED"
        self.bench.watcher.on_trial_complete(0, [], trial)

    def step(self, *trials):
        """As Tune does now and then, after a look at what is asked for."""
        for found in self.steering.requests.news():
            self.steering.news.put(found)
        self.steering.on_step_begin(0, list(trials))
        self.bench.watcher.on_step_end(0, list(trials))

    def next(self):
        """The next trial, begun; None where there is no more."""
        proposed = self.steering.searcher.suggest("id")
        if proposed == "FINISHED":
            return None
        trial = self.bench.taken(proposed)
        trial.is_finished = lambda: trial.status == "TERMINATED"
        self.bench.folder(trial).mkdir(parents=True, exist_ok=True)
        (self.bench.folder(trial) / VALUES).write_text(json.dumps(proposed))
        return trial

    def tokens(self):
        trial = self.next()
        return None if trial is None else trial.config["overrides"]["loss.tokens"]

    def heard(self, kind):
        return [event for event in self.bench.heard if isinstance(event, kind)]


def points(*values):
    return tuple({"loss.tokens": value} for value in values)


def test_points_come_before_what_waits_in_the_study_and_make_room_where_there_is_none(search):
    one = search(SPACE, budget=Budget(trials=3))
    sitting = Sitting(one)
    assert sitting.tokens() == 0.2
    Requests.of(one.folder).add(Steer(points(0.5, 0.6)))
    sitting.step()
    assert [sitting.tokens() for _ in range(3)] == [0.5, 0.6, None]
    Requests.of(one.folder).add(Steer(points(0.7)))
    sitting.step()
    assert [sitting.tokens() for _ in range(2)] == [0.7, None]
    assert sitting.noted == [(3, 1), (4, 2)]
    assert sitting.reopened == 2
    assert sitting.heard(SearchSteered) == [SearchSteered("run", 1, 2, (), 3, 3), SearchSteered("run", 2, 1, (), 4, 3)]
    assert [trial.number for trial in begun(sitting.bench.study)] == [0, 3, 4, 5]


def test_the_goal_is_raised_and_lowered(search):
    one = search(SPACE, budget=Budget(trials=1))
    sitting = Sitting(one)
    assert [sitting.tokens() for _ in range(2)] == [0.2, None]
    Requests.of(one.folder).add(Steer(trials=3))
    sitting.step()
    assert sitting.tokens() == 1.5
    Requests.of(one.folder).add(Steer(points(0.5), trials=2))
    sitting.step()
    assert sitting.tokens() is None
    assert sitting.heard(SearchSteered)[-1] == SearchSteered("run", 2, 1, (), 2, 3, waiting=1)


def test_a_search_that_is_killed_at_any_moment_tries_each_point_once(search):
    one = search(SPACE, budget=Budget(trials=3))
    Requests.of(one.folder).add(Steer(points(0.5, 0.6)))
    first = Sitting(one)  # it had not taken the request up when it was killed
    assert first.noted == [(3, 1)]
    assert first.tokens() == 0.5
    again = Sitting(one)  # nor was it noted
    assert again.noted == [(3, 1)]
    assert [again.tokens() for _ in range(4)] == [0.5, 0.6, 0.2, None]
    last = Sitting(one, taken=1)
    assert last.noted == []
    assert sorted(filter(None, (last.tokens() for _ in range(4)))) == [0.2, 0.5, 0.6]


def test_a_journal_that_is_gone_is_made_anew_with_what_was_begun(search):
    one = search(SPACE, budget=Budget(trials=5))
    Requests.of(one.folder).add(Steer(points(0.5, 0.6)))
    assert Sitting(one).tokens() == 0.5
    (one.folder / "optuna.journal").unlink()
    rebuild(one.folder, "run", one.space, one.config)
    again = Sitting(one, taken=1)
    assert [again.tokens() for _ in range(6)] == [0.5, 0.6, 0.2, 1.5, 1.6, None]


def test_what_a_resume_asks_for_goes_before_an_older_goal(search):
    one = search(SPACE, budget=Budget(trials=7))
    Requests.of(one.folder).add(Steer(trials=2))
    assert Sitting(one, fixed=True).steering.goal == 7
    assert Sitting(one).steering.goal == 2
    assert Sitting(one, taken=1).steering.goal == 7


def test_a_point_outside_a_space_that_was_narrowed_is_named_and_left_out(search, read):
    one = search(SPACE, budget=Budget(trials=3))
    Requests.of(one.folder).add(Steer(points(0.06, 0.5)))
    sitting = Sitting(replace(one, space=read("loss.tokens: {log: [0.1, 2]}\n")))
    (doubt,) = sitting.heard(Doubted)
    assert doubt.why.startswith("the 1. point of request 1 isn't tried: ")
    assert sitting.tokens() == 0.5


def test_a_damaged_request_is_said_and_passed_over(search):
    one = search(SPACE)
    Requests.of(one.folder).place.write("000001.json", b"{")
    sitting = Sitting(one)
    assert [event.why for event in sitting.heard(Doubted)] == [
        f"request 1 in {one.folder}/steer is damaged: it is passed over"
    ]


def test_a_trial_that_is_halted_keeps_what_it_reached_and_is_told_as_pruned(search):
    one = search(SPACE, budget=Budget(trials=3))
    sitting = Sitting(one)
    early, late = sitting.next(), sitting.next()
    sitting.bench.report(late, 1, 0.4)
    Requests.of(one.folder).add(Steer(stop=(0, 1)))
    sitting.step(early, late)
    assert {result.number: (result.status, result.score) for result in saved_results(one.folder)} == {
        0: ("halted", None),
        1: ("halted", 0.4),
    }
    assert [trial.state.name for trial in sitting.bench.study.trials[:2]] == ["FAIL", "PRUNED"]
    assert [event.status for event in sitting.heard(TrialEnded)] == ["halted", "halted"]
    assert sitting.bench.watcher.results()[0].number == 1
    assert not (sitting.bench.folder(early) / "error.txt").exists()
    assert sitting.noted == [(3, 1)]
    assert sitting.reopened == 0
    sitting.step(early, late)
    assert len(sitting.heard(TrialEnded)) == 2


def test_a_trial_has_not_ended_while_its_process_works_in_its_folder(search):
    one = search(SPACE)
    sitting = Sitting(one)
    trial = sitting.next()
    Requests.of(one.folder).add(Steer(stop=(0,)))
    with held(sitting.bench.folder(trial)):
        sitting.step(trial)
        assert sitting.bench.watcher.results() == []
    sitting.step(trial)
    assert [result.status for result in sitting.bench.watcher.results()] == ["halted"]


@pytest.mark.parametrize("taken", [0, 1])
def test_a_trial_that_was_to_be_ended_when_the_search_was_killed_ends_when_it_goes_on(search, monkeypatch, taken):
    one = search(SPACE, budget=Budget(trials=1))
    sitting = Sitting(one)
    sitting.bench.report(sitting.next(), 1, 0.4)
    Requests.of(one.folder).add(Steer(stop=(0,)))
    monkeypatch.setattr("capetune.tuning.study._run", lambda *all: pytest.fail("it ran"))
    searched = _searched(replace(one, steered=taken), None, lambda event: None, lambda results: None)
    assert [(result.number, result.status) for result in searched.trials] == [(0, "halted")]
    assert searched.left == 0
