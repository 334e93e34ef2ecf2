from __future__ import annotations

import importlib.util
import math

import optuna
import pytest

from capetune.errors import UserError
from capetune.runs.results import TrialResult
from capetune.tuning import samplers
from capetune.tuning.goal import Goal
from capetune.tuning.samplers import make_sampler

TEXT = """
loss.tokens: {log: [0.05, 2]}
loss.coordinates: {uniform: [1, 10]}
model.sequence: {choice: [xy, point]}
model.vocabulary: {choice: [64, 128], when: {model.sequence: xy}}
"""


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("name", ["tpe", "random", "gp", "cmaes", "nsga2"])
def test_every_sampler_takes_conditional_spaces_and_repeats_by_its_seed(name, read):
    if name == "cmaes":
        pytest.importorskip("cmaes", reason="an extra: capetune[samplers]")
    space = read(TEXT)

    def drawn():
        study = optuna.create_study(sampler=make_sampler(name, 3), direction="maximize")
        found = []
        for _ in range(12):
            trial = study.ask()
            values = space.suggest(trial)
            study.tell(trial, -values["loss.coordinates"])
            found.append(values)
        return found

    first = drawn()
    assert first == drawn()
    assert {"model.vocabulary" in values for values in first} == {True, False}
    assert all(("model.vocabulary" in values) == (values["model.sequence"] == "xy") for values in first)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["nsga2", "tpe", "gp"])
def test_two_metrics_are_searched_together_though_one_trial_diverged(name, read):
    space = read(f"metric: [mpck4, generate_ms]\nsampler: {name}\nscheduler: none\nloss.tokens: {{log: [0.05, 2]}}\n")
    assert space.header.mode == ("max", "min")
    study = optuna.create_study(sampler=make_sampler(name, 3), directions=["maximize", "minimize"])
    found = {}
    for number in range(14):
        trial = study.ask()
        value = space.suggest(trial)["loss.tokens"]
        study.tell(trial, [-math.inf, math.inf] if number == 3 else [value, abs(value - 1)])
        if number != 3:
            found[number] = {"mpck4": value, "generate_ms": abs(value - 1)}
    assert Goal.of(space.header).front(found) == {trial.number for trial in study.best_trials}


def test_between_equals_in_the_first_metric_the_second_decides_so_the_best_is_on_the_front():
    goal = Goal(("mpck4", "generate_ms"), ("max", "min"))
    found = {0: {"mpck4": 0.5, "generate_ms": 52.0}, 1: {"mpck4": 0.5, "generate_ms": 24.0}}
    results = [TrialResult(n, {}, "completed", m["mpck4"], m, [(1, 0.5)], 1.0, None, None) for n, m in found.items()]
    assert [result.number for result in sorted(results, key=goal.place)] == [1, 0]
    assert goal.front(found) == {1}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_tpe_draws_what_is_varied_together_from_one_distribution(read):
    space = read(TEXT)
    assert space.conditional
    assert not read("loss.tokens: {log: [0.05, 2]}\n").conditional
    grouped = make_sampler("tpe", 3, conditional=True)
    study = optuna.create_study(sampler=grouped, direction="maximize")
    for _ in range(12):
        trial = study.ask()
        study.tell(trial, space.suggest(trial)["loss.coordinates"])
    groups = [set(group) for group in grouped._search_space_group.search_spaces]
    assert {"model.vocabulary"} in groups
    assert {"loss.tokens", "loss.coordinates", "model.sequence"} in groups


def test_what_a_sampler_needs_is_said(monkeypatch):
    monkeypatch.setattr(samplers, "find_spec", lambda name: None if name == "cmaes" else importlib.util.find_spec(name))
    with pytest.raises(UserError, match=r"the sampler cmaes needs cmaes: pip install 'capetune\[samplers\]'"):
        make_sampler("cmaes", 0)
