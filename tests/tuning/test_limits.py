"""Constraints: what is known before a training, what its first epoch tells, and what the sampler learns of both."""

from __future__ import annotations

import json

import optuna
import pytest

from capetune.errors import UserError
from capetune.events import ignore
from capetune.models.estimator import PoseEstimator
from capetune.runs.record import JOURNAL
from capetune.runs.results import saved_results, trial_folder, write_results
from capetune.trial_events import TrialEnded, TrialRefused
from capetune.tuning.limits import known_excess, measured_excess, over, parameters
from capetune.tuning.schedulers import ends
from capetune.tuning.space import Budget
from capetune.tuning.study import _found
from capetune.tuning.twins import begun, due

from .conftest import Bench
from .test_searcher import Proposals

LAYERS = "sampler: random\nscheduler: none\nmodel.decoder.layers: {int: [1, 6]}\nloss.tokens: {log: [0.05, 2]}\n"


def test_parameters_are_those_of_the_whole_model(config):
    model = PoseEstimator(config.model, pretrained=False)
    assert parameters(config.model) == sum(value.numel() for value in model.parameters())


def test_by_which_share_a_limit_is_broken(config):
    count = parameters(config.model)
    assert known_excess({"parameters": count}, config, {}) == {"parameters": 0}
    assert over(known_excess({"parameters": count}, config, {})) is None
    assert known_excess({"generate_ms": 1.0}, config, {}) == {}
    assert measured_excess({"generate_ms": 20.0, "gpu_memory_gb": 4.0}, {"generate_ms": 25.0}) == {"generate_ms": 0.25}
    assert over({"generate_ms": 0.25, "parameters": -0.1}) == "generate_ms is 25 % over its limit"


def test_too_large_a_model_is_not_trained_and_the_sampler_knows(search, config):
    limit = parameters(config.with_overrides({"model.decoder.layers": 3}).model)
    one = search(f"constraints: {{parameters: {limit}}}\n{LAYERS}", budget=Budget(trials=6))
    made = Proposals(one, fresh=6)
    proposed = [made.next() for _ in range(6)]
    assert all(each["overrides"]["model.decoder.layers"] <= 3 for each in proposed)
    refused = made.heard(TrialRefused)
    assert refused
    assert all(event.overrides["model.decoder.layers"] > 3 for event in refused)
    study = made.bench.study
    for event in refused:
        told = study.trials[event.trial]
        assert told.state.name == "COMPLETE"
        assert told.constraints["parameters"] > 0
        assert event.why in (f"parameters is {100 * told.constraints['parameters']:.3g} % over its limit",)
    assert len(begun(study)) == 6
    assert due(study, one.budget) == 0


def test_a_trial_that_is_over_a_limit_after_its_first_epoch_ends_and_is_never_the_best(search, tmp_path, config):
    one = search(f"constraints: {{generate_ms: 20}}\n{LAYERS}")
    bench = Bench(one)
    bench.limit.limits = one.space.header.constraints
    slow, quick = bench.trial(), bench.trial()
    assert bench.limit("id", {"epoch": 1, "generate_ms": 30.0})
    assert not bench.limit("id", {"epoch": 1, "generate_ms": 19.0})
    assert not bench.limit("id", {"epoch": 2, "generate_ms": 30.0})  # it is read once
    for trial, ms, score in ((slow, 30.0, 0.9), (quick, 19.0, 0.2)):
        metrics = {"epoch": 1, "mpck4": score, "generate_ms": ms, "seconds": 1.0, "template_mpck4": 0.1}
        folder = trial_folder(one.folder, trial.config["number"])
        folder.mkdir(parents=True)
        (folder / "trial.json").write_text(json.dumps(trial.config))
        (folder / "history.jsonl").write_text(json.dumps(metrics) + "\n")
        bench.hear(trial, metrics)
        bench.end(trial)
    results = bench.watcher.results()
    assert [(result.number, result.eligible) for result in results] == [(1, True), (0, False)]
    assert results[1].excess == {"generate_ms": 0.5}
    said = [event.over for event in bench.heard if isinstance(event, TrialEnded)]
    assert said == ["generate_ms is 50 % over its limit", None]
    assert [trial.constraints["generate_ms"] for trial in bench.study.trials] == pytest.approx([0.5, -0.05])
    assert list(saved_results(one.folder)) == sorted(results, key=lambda result: result.number)
    assert ends(one.space, config) == frozenset([1, config.train.epochs])
    write_results(one.folder, config, {"goal": ["mpck4"]}, results[1:])
    assert not (one.folder / "best.yaml").exists()
    (one.folder / JOURNAL).unlink()
    anew = _found(one, list(saved_results(one.folder)), ignore)
    assert [trial.constraints for trial in anew.trials] == [trial.constraints for trial in bench.study.trials]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_samplers_learn_where_a_limit_is(search, sampler):
    """The best scores lie beyond it; few proposals do, once it is known."""
    limited = "constraints: {generate_ms: 20}\nscheduler: none\nloss.tokens: {uniform: [0, 2]}\n"
    one = search(f"sampler: {sampler}\n{limited}", budget=Budget(trials=30))
    study = _found(one, [], ignore)
    beyond = []
    for _ in range(30):
        trial = study.ask()
        value = one.space.suggest(trial)["loss.tokens"]
        beyond.append(value > 0.55)  # gp proposes the very edge
        trial.set_constraint("generate_ms", value / 0.5 - 1)
        study.tell(trial, value)
    assert sum(beyond[20:]) < 5
    assert 0.4 < study.best_trial.params["loss.tokens"] <= 0.5
    assert isinstance(study.sampler, optuna.samplers.BaseSampler)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("constraints: {generate: 20}", "constraints"),
        ("constraints: {generate_ms: 0}", "constraints"),
        ("constraints: 20", "constraints"),
    ],
)
def test_what_is_no_constraint_is_named_with_its_line(read, line, said):
    with pytest.raises(UserError, match=rf"line 1: {said}"):
        read(f"{line}\nloss.tokens: {{log: [0.05, 2]}}\n")


def test_a_search_goes_on_with_its_constraints(read):
    text = "loss.tokens: {log: [0.05, 2]}\n"
    with pytest.raises(UserError, match="goes on with its constraints: its trials were judged by them"):
        read(f"constraints: {{generate_ms: 30}}\n{text}").check_extends(read(text))
