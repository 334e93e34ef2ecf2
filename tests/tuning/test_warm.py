"""What a search takes of earlier ones. Studies are real, and so are the folders of the earlier searches; no Ray."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from capetune.errors import UserError
from capetune.events import ignore
from capetune.runs.record import JOURNAL, Run
from capetune.runs.results import saved_results, trial_folder
from capetune.trial_events import TrialSpared
from capetune.tuning.schedulers import make_scheduler, recall
from capetune.tuning.search import Search
from capetune.tuning.space import Budget
from capetune.tuning.space_file import load_space
from capetune.tuning.study import _found
from capetune.tuning.twins import Twins, begun, due
from capetune.tuning.warm import WARM, Question, by_number, read_warm, save_warm, summary, warm_start

from .conftest import Bench
from .test_searcher import Proposals

SPACE = "loss.tokens: {log: [0.05, 2]}\nmodel.decoder.layers: {int: [2, 6]}\n"
SCORES = (0.3, 0.5, 0.4, None)  # of the earlier search's trials, the last of which failed
TOKENS = (0.1, 1.0, 0.3, 0.4)
FACTS = {"data_hash": "d", "goal": ["mpck4"], "mode": ["max"]}


def earlier(tmp_path, config, text=SPACE, name="night", scores=SCORES, **facts):
    """A search of before, its trials driven by hand."""
    folder = tmp_path / "runs" / name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config.to_yaml())
    (folder / "space.yaml").write_text(text)
    space = load_space(folder / "space.yaml", config)
    bench = Bench(Search(config, space, None, folder, Budget(trials=10)))
    for tokens, score in zip(TOKENS, scores, strict=True):
        trial = bench.trial(**{"loss.tokens": tokens, "model.decoder.layers": 3})
        if score is None:
            bench.end(trial, lost="ValueError: no")
        else:
            for epoch in (1, 2, 3):
                bench.report(trial, epoch, score * epoch / 3, checkpoint=False)
            bench.end(trial)
    run = Run(folder, "search", "completed", {**FACTS, **facts})
    run.save("completed")
    return run


def taken(runs, search, top=5, **facts):
    return warm_start(runs, Question.of(search.space, search.config, {**FACTS, **facts}), top)


def test_results_of_the_same_question_count_as_trials_and_are_not_trained_again(tmp_path, config, search):
    run = earlier(tmp_path, config)
    one = search(SPACE, budget=Budget(trials=3))
    warmth = taken([run], one)
    assert warmth.found == ["results of night that count as trials: 3 of 3"]
    assert warmth.doubts == []
    save_warm(one.folder, warmth.taken)
    assert read_warm(one.folder) == warmth.taken
    made = Proposals(one)
    study = made.bench.study
    known = by_number(study, warmth.taken)
    assert [study.trials[number].value for number in known] == pytest.approx([0.5, 0.4, 0.3])
    assert begun(study) == []
    assert due(study, one.budget) == 3
    made.searcher.twins = Twins(one, study, made.bench.watcher.ended, known)
    best = next(each for each in warmth.taken if each.trial == 1)
    study.enqueue_trial(best.overrides)
    assert made.next()["overrides"] == one.space.default(config)
    proposed = made.next()
    assert proposed["overrides"] not in [each.overrides for each in warmth.taken]
    assert "trial 1 of night" in [event.source for event in made.heard(TrialSpared)]
    made.end(proposed, 0.2)
    assert [result.score for result in made.bench.watcher.results()] == [0.2]  # theirs are none of its own
    assert summary(warmth.taken, one.goal) == [{"search": "night", "trials": 3, "points": 0, "best": 1, "score": 0.5}]


def test_going_on_tells_the_study_nothing_twice_and_a_lost_journal_knows_them_again(tmp_path, config, search):
    one = search(SPACE)
    save_warm(one.folder, taken([earlier(tmp_path, config)], one).taken)
    first = _found(one, [], ignore)
    again = _found(one, [], ignore)
    assert len(again.trials) == len(first.trials)
    made = Proposals(one)
    for score in (0.1, 0.2):
        proposed = made.next()
        made.end(proposed, score)
        values = json.dumps({"number": proposed["number"], "overrides": proposed["overrides"]})
        (trial_folder(one.folder, proposed["number"]) / "trial.json").write_text(values)
    before = [(trial.state.name, trial.params, trial.user_attrs) for trial in made.bench.study.trials]
    (one.folder / JOURNAL).unlink()
    anew = _found(one, list(saved_results(one.folder)), ignore)
    assert [(trial.state.name, trial.params, trial.user_attrs) for trial in anew.trials] == before


@pytest.mark.parametrize(
    ("facts", "base", "said"),
    [
        ({"data_hash": "other"}, {}, "pack"),
        ({"cache_features": 4}, {}, "--cache-features"),
        ({}, {"train.epochs": 4, "loss.smoothing": 0.1}, "train.epochs, loss.smoothing"),
    ],
)
def test_where_the_question_differs_the_best_points_come_first_and_why_is_said(
    tmp_path, config, search, facts, base, said
):
    run = earlier(tmp_path, config)
    one = replace(search(SPACE), config=config.with_overrides(base))
    warmth = taken([run], one, top=2, **facts)
    assert warmth.found == ["points of night that come first: 2"]
    (doubt,) = warmth.doubts
    assert doubt.startswith("results of night don't count as trials here, for they differ in ")
    assert set(doubt.rpartition(" in ")[2].split(", ")) == set(said.split(", "))
    assert [(each.trial, each.result) for each in warmth.taken] == [(1, None), (2, None)]
    save_warm(one.folder, warmth.taken)
    study = _found(one, [], ignore)
    asked = [one.space.suggest(study.ask()) for _ in range(3)]
    assert asked[0] == one.space.default(config)
    assert asked[1:] == [each.overrides for each in warmth.taken]


def test_values_outside_the_ranges_and_keys_that_are_not_there_are_named(tmp_path, config, search):
    run = earlier(tmp_path, config, SPACE + "loss.coordinates: {uniform: [1, 10]}\n")
    one = search("loss.tokens: {log: [0.2, 3]}\nloss.smoothing: {uniform: [0, 0.5]}\n")
    warmth = taken([run], one)
    lacks = "night varied model.decoder.layers, loss.coordinates, which this space lacks"
    assert lacks in warmth.doubts
    outside = "night: loss.tokens = 0.1 of trial 0 lies outside log [0.2, 3]: left out, the default is in its place"
    assert outside in warmth.doubts
    assert all(set(each.overrides) == {"loss.tokens", "loss.smoothing"} for each in warmth.taken)
    assert all(one.space.parameters[key].holds(v) for each in warmth.taken for key, v in each.overrides.items())


def test_asha_measures_new_trials_by_those_of_before(tmp_path, config, search):
    one = search("scheduler: {name: asha, grace: 1, factor: 3}\n" + SPACE)
    warmth = taken([earlier(tmp_path, config)], one)
    scheduler = make_scheduler(one.space, config, one.folder)
    recall(scheduler, [], [each.result for each in warmth.taken])
    rungs = {milestone: sorted(recorded.values()) for milestone, recorded in scheduler._brackets[0]._rungs}
    assert rungs[1] == pytest.approx(sorted(score / 3 for score in SCORES[:3]))


def test_a_damaged_file_of_it_is_named(search):
    folder = search().folder
    (folder / WARM).write_text('[{"search": "night"}]')
    with pytest.raises(UserError, match=r"warm.json is odd: 0.trial is missing; remove it, and the search"):
        read_warm(folder)
