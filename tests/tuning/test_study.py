"""What a search does before and after Ray; the rest is in tests/integration."""

from __future__ import annotations

import os

import optuna
import pytest

from capetune.errors import UserError
from capetune.runs.results import saved_results
from capetune.tuning.preflight import Plan
from capetune.tuning.search import check_scorable
from capetune.tuning.space import Budget
from capetune.tuning.study import JOURNAL, _study, check_new, mend, open_storage, run_search
from capetune.tuning.watcher import EVENTS

PLAN = Plan(1, 1, 1, "cpu")


@pytest.fixture
def scorable(monkeypatch):
    monkeypatch.setattr("capetune.tuning.study.check_scorable", lambda pack, split: None)


def test_what_a_killed_process_leaves_is_mended(search):
    """Optuna spins for ever on the lock, and breaks on half a line when it appends to it."""
    folder = search().folder
    study = _study(search())
    study.ask()
    with (folder / JOURNAL).open("a") as stream:
        stream.write('{"op_code": 4, "wor')
    (folder / EVENTS).write_text('{"trial": 0}\n{"tri')
    os.symlink(folder / JOURNAL, folder / f"{JOURNAL}.lock")
    mend(folder)
    again = _study(search())
    again.tell(again.ask(), 0.5)
    assert [trial.state.name for trial in again.trials] == ["RUNNING", "COMPLETE"]
    assert (folder / EVENTS).read_text() == '{"trial": 0}\n'


def test_whole_files_are_left_as_they_are(search):
    folder = search().folder
    (folder / EVENTS).write_text('{"trial": 0}\n')
    mend(folder)
    assert (folder / EVENTS).read_text() == '{"trial": 0}\n'
    assert [file.name for file in folder.iterdir()] == [EVENTS]


def test_the_default_comes_first_then_the_points_then_the_sampler(search):
    text = "points: [{loss.tokens: 1.5}, {loss.tokens: 0.1}]\nloss.tokens: {log: [0.05, 2]}\n"
    study = _study(search(text))
    asked = [search(text).space.suggest(study.ask())["loss.tokens"] for _ in range(4)]
    assert asked[:3] == [0.2, 1.5, 0.1]
    assert asked[3] not in asked[:3]


def test_a_search_that_goes_on_asks_for_other_points_with_the_same_seed(search):
    first, other = search(), search()
    study = _study(first)
    drawn = [first.space.suggest(study.ask())["loss.tokens"] for _ in range(5)]
    again = _study(other)
    drawn += [other.space.suggest(again.ask())["loss.tokens"] for _ in range(5)]
    assert len(set(drawn)) == 10
    assert drawn[0] == 0.2


def test_a_finished_search_runs_nothing_and_keeps_what_it_knows(bench, search, scorable, monkeypatch):
    for score in (0.4, 0.6):
        trial = bench.trial()
        bench.report(trial, 3, score)
        bench.end(trial)
    monkeypatch.setattr("capetune.tuning.study._run", lambda *all: pytest.fail("it ran"))
    heard = []
    results = run_search(search(budget=Budget(trials=2)), PLAN, heard.append)
    assert [result.number for result in results] == [1, 0]
    assert [(event.trial, event.earlier) for event in heard] == [(0, True), (1, True)]


def test_what_is_unfinished_and_what_is_new_is_asked_for(bench, search, scorable, monkeypatch):
    """Trial 0 has ended, 1 was cut off in its second epoch, 2 just before its result was kept, 3 before it began."""
    trials = [bench.trial() for _ in range(4)]
    for trial, epochs in zip(trials, (3, 1, 3, 0), strict=True):
        bench.folder(trial).mkdir(parents=True)
        for epoch in range(1, epochs + 1):
            bench.report(trial, epoch, 0.1 * epoch)
        if epochs:
            (bench.folder(trial) / "trial.json").write_text(
                f'{{"overrides": {{"loss.tokens": {trial.config["overrides"]["loss.tokens"]}}}}}'
            )
    bench.end(trials[0])
    asked = []
    monkeypatch.setattr(
        "capetune.tuning.study._run",
        lambda search, plan, study, unfinished, fresh, *rest: asked.append((unfinished, fresh)),
    )
    results = run_search(search(budget=Budget(trials=6)), PLAN, lambda event: None)
    ((unfinished, fresh),) = asked
    assert [trial.number for trial in unfinished] == [1, 3]
    assert fresh == 2
    assert {result.number: result.status for result in results} == {0: "completed", 2: "completed"}
    assert [result.number for result in saved_results(search().folder)] == [0, 2]


def test_a_budget_of_epochs_counts_those_of_earlier_sittings(bench, search, scorable, monkeypatch):
    trial = bench.trial()
    bench.report(trial, 3, 0.5)
    bench.end(trial)
    monkeypatch.setattr("capetune.tuning.study._run", lambda *all: pytest.fail("it ran"))
    run_search(search(budget=Budget(trials=6, epochs=1)), PLAN, lambda event: None)


def test_a_budget_of_epochs_counts_those_of_trials_that_go_on(bench, search, scorable, monkeypatch):
    trial = bench.trial()
    bench.report(trial, 1, 0.5)
    bench.report(trial, 2, 0.5)
    monkeypatch.setattr("capetune.tuning.study._run", lambda *all: pytest.fail("it ran"))
    run_search(search(budget=Budget(trials=6, epochs=2)), PLAN, lambda event: None)


def test_a_storage_that_does_not_know_the_trials_is_refused(bench, search, scorable):
    for _ in range(2):
        trial = bench.trial()
        bench.report(trial, 3, 0.5)
        bench.end(trial)
    (bench.search.folder / JOURNAL).unlink()
    with pytest.raises(UserError, match=r"optuna.journal doesn't know trial 1 of .*run; put the right one back"):
        run_search(search(), PLAN, lambda event: None)


def test_a_full_disk_is_said_with_the_cure(bench, search, scorable, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("capetune.tuning.study._run", full)
    with pytest.raises(
        UserError, match=r"no room is left for .*: free some, then `capetune search --resume run --runs .*` goes on"
    ):
        run_search(search(), PLAN, lambda event: None)


def test_a_study_of_that_name_in_a_database_is_another_search_s(tmp_path, search):
    url = f"sqlite:///{tmp_path}/study.db"
    check_new(url, "run")
    _study(search(storage=url))
    with pytest.raises(UserError, match=r"study.db holds a study 'run' already; choose another --name"):
        check_new(url, "run")
    check_new(url, "other")


def test_a_database_holds_the_study_as_well(tmp_path, search):
    url = f"sqlite:///{tmp_path}/study.db"
    study = _study(search(storage=url))
    study.tell(study.ask(), 0.5)
    assert optuna.load_study(study_name="run", storage=url).best_value == 0.5


def test_a_database_that_can_not_be_opened_is_one_line(tmp_path):
    with pytest.raises(UserError, match="can't open Optuna's storage nothing://there: ") as error:
        open_storage(tmp_path, "nothing://there")
    assert "\n" not in str(error.value)


def test_a_split_without_validation_instances_is_refused(tiny_pack, monkeypatch):
    from capetune.datasets.packs.reader import Pack, open_pack

    pack = open_pack(tiny_pack)
    check_scorable(pack, 1)
    monkeypatch.setattr(Pack, "part", lambda self, split, part: [] if part == "val" else [1])
    with pytest.raises(UserError, match="holds no instance of split 1 val to score trials by"):
        check_scorable(pack, 1)
