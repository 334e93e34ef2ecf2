"""What a search proposes: nothing twice, a grid once, and no more where nothing is left. Without Ray's processes."""

from __future__ import annotations

import pytest
from ray.tune.search import Searcher

from capetune.errors import UserError
from capetune.runs.results import saved_results
from capetune.trial_events import NoMoreTrials, TrialSpared
from capetune.tuning.rebuild import rebuild
from capetune.tuning.searcher import StudySearcher
from capetune.tuning.space import Budget
from capetune.tuning.storage import open_storage
from capetune.tuning.study import _study
from capetune.tuning.twins import TWIN, due, queue_failed

from .conftest import Bench

TWO = "scheduler: none\nsampler: random\nmodel.decoder.layers: {choice: [2, 3]}\n"
GRID = """
sampler: grid
model.sequence: {choice: [point, xy]}
model.vocabulary: {choice: [64, 128], when: {model.sequence: xy}}
model.decoder.layers: {int: [2, 4], step: 2}
"""


class Proposals:
    """A searcher on a bench whose trials are driven by hand."""

    def __init__(self, search, fresh=6):
        self.bench = Bench(search)
        self.bench.study = _study(search, open_storage(search.folder, None))
        self.bench.watcher.study = self.bench.watcher.twins.study = self.bench.study
        watcher = self.bench.watcher
        self.searcher = StudySearcher(
            self.bench.study, search.space, search.folder, [], fresh, watcher.twins, watcher.over, watcher.say
        )

    def next(self):
        return self.searcher.suggest("id")

    def end(self, proposed, score):
        trial = self.bench.taken(proposed)
        self.bench.report(trial, 3, score)
        self.bench.end(trial)

    def heard(self, kind):
        return [event for event in self.bench.heard if isinstance(event, kind)]


def test_a_space_of_two_values_is_two_trials(search, config):
    made = Proposals(search(TWO, budget=Budget(trials=6)))
    first = made.next()
    made.end(first, 0.4)
    second = made.next()
    assert {first["overrides"]["model.decoder.layers"], second["overrides"]["model.decoder.layers"]} == {2, 3}
    made.end(second, 0.5)
    assert made.next() == Searcher.FINISHED
    assert made.next() == Searcher.FINISHED
    (end,) = made.heard(NoMoreTrials)
    assert end.why == "all 2 configurations of the space have been tried"
    assert made.searcher.ended


def test_a_twin_s_result_is_the_sampler_s_and_counts_for_no_budget(search):
    text = "sampler: random\nloss.tokens: {log: [0.05, 2]}\nmodel.decoder.layers: {choice: [2, 4]}\n"
    one = search(text, budget=Budget(trials=3))
    made = Proposals(one)
    first = made.next()
    made.end(first, 0.4)
    study = made.bench.study
    study.enqueue_trial(first["overrides"])
    second = made.next()
    assert second["overrides"] != first["overrides"]
    (spared,) = made.heard(TrialSpared)
    assert (spared.trial, spared.twin) == (1, 0)
    assert study.trials[1].state.name == "COMPLETE"
    assert (study.trials[1].value, study.trials[1].user_attrs[TWIN]) == (0.4, 0)
    assert due(study, one.budget) == 1
    made.end(second, 0.3)
    assert [result.number for result in saved_results(one.folder)] == [0, 2]


def test_the_twin_of_one_that_trains_is_told_nothing_and_that_of_a_failed_one_is_trained(search):
    made = Proposals(search("sampler: random\nloss.tokens: {log: [0.05, 2]}\n"))
    first, study = made.next(), made.bench.study
    study.enqueue_trial(first["overrides"])
    second = made.next()
    assert study.trials[1].state.name == "FAIL"
    made.bench.end(made.bench.taken(second), lost="ValueError: no")
    study.enqueue_trial(second["overrides"])
    third = made.next()
    assert (third["number"], third["overrides"]) == (3, second["overrides"])


def test_a_sampler_that_only_repeats_ends_the_search(search, monkeypatch):
    made = Proposals(search("sampler: random\nloss.tokens: {log: [0.05, 2]}\n"))
    first = made.next()
    monkeypatch.setattr(made.searcher.space.__class__, "suggest", lambda space, trial: first["overrides"])
    assert made.next() == Searcher.FINISHED
    assert made.heard(NoMoreTrials)[0].why == "50 proposals on end had been tried already"


def test_a_stale_search_proposes_nothing_more(search):
    made = Proposals(search("sampler: random\nloss.tokens: {log: [0.05, 2]}\n", budget=Budget(stale=1)))
    for score in (0.5, 0.4):
        made.end(made.next(), score)
    assert made.next() == Searcher.FINISHED


def test_failed_trials_are_repeated_though_the_whole_space_was_tried_or_nothing_got_better(search):
    one = search(TWO, budget=Budget(trials=2, stale=1))
    made = Proposals(one)
    made.end(made.next(), 0.5)
    failed = made.next()
    made.bench.end(made.bench.taken(failed), lost="OSError: away")
    assert made.next() == Searcher.FINISHED
    queue_failed(made.bench.study, list(saved_results(one.folder)))
    assert due(made.bench.study, one.budget) == 1
    again = Proposals(one)
    again.bench.watcher.ended |= made.bench.watcher.ended
    for result in made.bench.watcher.results():
        again.bench.watcher.twins.first(result.number, result.config_hash)
    repeated = again.next()
    assert (repeated["number"], repeated["overrides"]) == (2, failed["overrides"])
    again.end(repeated, 0.4)
    assert again.next() == Searcher.FINISHED


def test_a_grid_is_tried_point_by_point_the_default_first(search, config):
    one = search(GRID, budget=Budget(trials=6))
    made, values = Proposals(one), []
    for _ in range(6):
        values.append(made.next()["overrides"])
    sequence, layers, vocabulary = "model.sequence", "model.decoder.layers", "model.vocabulary"
    assert values[0] == {sequence: "point", layers: 2}
    assert len({tuple(point.items()) for point in values}) == 6
    assert sum(point[sequence] == "xy" for point in values) == 4
    assert all((vocabulary in point) == (point[sequence] == "xy") for point in values)
    assert made.next() == Searcher.FINISHED


@pytest.fixture
def config(config):
    return config.with_overrides({"model.decoder.layers": 2})


def test_a_grid_s_journal_that_is_gone_is_made_anew_with_what_is_left_of_it(search):
    one = search(GRID, budget=Budget(trials=6))
    made = Proposals(one)
    begun = [made.next() for _ in range(2)]
    for number, proposed in enumerate(begun):
        made.end(proposed, 0.1 * number)
    (one.folder / "optuna.journal").unlink()
    assert rebuild(one.folder, "run", one.space, one.config) == 2
    left = [Proposals(one).next()["overrides"]]
    assert left[0] not in [proposed["overrides"] for proposed in begun]


@pytest.mark.parametrize("line", ["loss.tokens: {log: [0.05, 2]}", "train.warmup: {int: [1, 2000]}"])
def test_a_grid_without_an_end_is_refused(read, line):
    with pytest.raises(UserError, match="line 1: grid tries every point, and this space has more than 1000, or ranges"):
        read(f"sampler: grid\n{line}\n")


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes"])
def test_samplers_go_on_after_trials_that_diverged_and_say_nothing(search, sampler, recwarn):
    """gp warns that it clips their scores."""
    made = Proposals(search(f"sampler: {sampler}\nloss.tokens: {{log: [0.05, 2]}}\n"), fresh=20)
    for number in range(12):
        proposed = made.next()
        if number % 2:
            made.bench.end(made.bench.taken(proposed), lost="capetune.errors.Diverged: the loss became nan")
        else:
            made.end(proposed, 0.1 + 0.01 * number)
    assert made.next()["overrides"]
    assert [str(warning.message) for warning in recwarn if "Clip" in str(warning.message)] == []
