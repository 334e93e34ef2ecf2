"""What a search does before and after Ray; the rest is in tests/integration."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import optuna
import pytest

from capetune.errors import UserError
from capetune.events import ignore
from capetune.runs.diary import EVENTS
from capetune.runs.history import add_to_history
from capetune.runs.record import JOURNAL
from capetune.runs.results import saved_results, trial_folder
from capetune.tuning.preflight import Plan
from capetune.tuning.room import Room
from capetune.tuning.space import Budget
from capetune.tuning.storage import check_new, open_storage, study_name, without_password
from capetune.tuning.study import _found, _study, mend, run_search

ROOM = Room(Plan(1, 1, 1, "cpu"), ours=True)


def study_of(search):
    return _study(search, open_storage(search.folder, search.storage))


def test_what_a_killed_process_leaves_is_mended(search):
    """Optuna spins for ever on the lock, and breaks on half a line when it appends to it."""
    folder = search().folder
    study = study_of(search())
    study.ask()
    with (folder / JOURNAL).open("a") as stream:
        stream.write('{"op_code": 4, "wor')
    (folder / EVENTS).write_text('{"trial": 0}\n{"tri')
    os.symlink(folder / JOURNAL, folder / f"{JOURNAL}.lock")
    mend(folder)
    again = study_of(search())
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
    study = study_of(search(text))
    asked = [search(text).space.suggest(study.ask())["loss.tokens"] for _ in range(4)]
    assert asked[:3] == [0.2, 1.5, 0.1]
    assert asked[3] not in asked[:3]


def test_a_search_that_goes_on_asks_for_other_points_with_the_same_seed(search):
    first, other = search(), search()
    study = study_of(first)
    drawn = [first.space.suggest(study.ask())["loss.tokens"] for _ in range(5)]
    again = study_of(other)
    drawn += [other.space.suggest(again.ask())["loss.tokens"] for _ in range(5)]
    assert len(set(drawn)) == 10
    assert drawn[0] == 0.2


def test_a_finished_search_runs_nothing_and_keeps_what_it_knows(bench, search, monkeypatch):
    for score in (0.4, 0.6):
        trial = bench.trial()
        bench.report(trial, 3, score)
        bench.end(trial)
    monkeypatch.setattr("capetune.tuning.study._run", lambda *all: pytest.fail("it ran"))
    heard = []
    results = run_search(search(budget=Budget(trials=2)), ROOM, heard.append).trials
    assert [result.number for result in results] == [1, 0]
    assert [(event.trial, event.earlier) for event in heard] == [(0, True), (1, True)]


def test_what_is_unfinished_and_what_is_new_is_asked_for(bench, search, monkeypatch):
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
        lambda search, room, study, unfinished, watcher, steering: asked.append((unfinished, steering.due)),
    )
    searched = run_search(search(budget=Budget(trials=6)), ROOM, lambda event: None)
    results = searched.trials
    assert searched.left == 4
    ((unfinished, fresh),) = asked
    assert [trial.number for trial in unfinished] == [1, 3]
    assert fresh == 2
    assert {result.number: result.status for result in results} == {0: "completed", 2: "completed"}
    assert [result.number for result in saved_results(search().folder)] == [0, 2]


def test_a_budget_of_epochs_counts_those_of_earlier_sittings(bench, search, monkeypatch):
    trial = bench.trial()
    bench.report(trial, 3, 0.5)
    bench.end(trial)
    monkeypatch.setattr("capetune.tuning.study._run", lambda *all: pytest.fail("it ran"))
    run_search(search(budget=Budget(trials=6, epochs=1)), ROOM, lambda event: None)


def test_a_budget_of_epochs_counts_those_of_trials_that_go_on(bench, search, monkeypatch):
    trial = bench.trial()
    bench.report(trial, 1, 0.5)
    bench.report(trial, 2, 0.5)
    monkeypatch.setattr("capetune.tuning.study._run", lambda *all: pytest.fail("it ran"))
    run_search(search(budget=Budget(trials=6, epochs=2)), ROOM, lambda event: None)


def test_a_storage_that_does_not_know_the_trials_is_refused(bench, search):
    for _ in range(2):
        trial = bench.trial()
        bench.report(trial, 3, 0.5)
        bench.end(trial)
    (bench.search.folder / JOURNAL).unlink()
    other = optuna.create_study(study_name="run", storage=open_storage(bench.search.folder, None))
    assert other.trials == []
    other.ask()
    with pytest.raises(
        UserError, match=r"optuna.journal is another search's: it doesn't know trial 1 of .*run as it is"
    ):
        run_search(search(), ROOM, lambda event: None)


def test_a_full_disk_is_said_with_the_cure(bench, search, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("capetune.tuning.study._run", full)
    with pytest.raises(
        UserError, match=r"no room is left for .*: free some, then `capetune search --resume run --runs .*` goes on"
    ):
        run_search(search(), ROOM, lambda event: None)


def test_a_study_of_that_name_in_a_database_is_another_search_s(tmp_path, search):
    url = f"sqlite:///{tmp_path}/study.db"
    check_new(url, "run")
    study_of(search(storage=url))
    with pytest.raises(UserError, match=r"study.db holds a study 'run' already; choose another --name"):
        check_new(url, "run")
    check_new(url, "other")


def test_a_database_holds_the_study_as_well(tmp_path, search):
    url = f"sqlite:///{tmp_path}/study.db"
    study = study_of(search(storage=url))
    study.tell(study.ask(), 0.5)
    assert optuna.load_study(study_name="run", storage=url).best_value == 0.5


def test_a_database_that_can_not_be_opened_is_one_line(tmp_path):
    with pytest.raises(UserError, match="can't open Optuna's storage nothing://there: ") as error:
        open_storage(tmp_path, "nothing://there")
    assert "\n" not in str(error.value)


def test_a_renamed_run_goes_on_with_its_ownstudy_of(search, tmp_path):
    first = search()
    study = study_of(first)
    study.tell(study.ask(), 0.5)
    moved = first.folder.rename(tmp_path / "renamed")
    before = (moved / JOURNAL).read_bytes()
    assert study_name(moved, {"study": "run"}) == "run"
    assert study_name(moved, {}) == "run"  # of a record that doesn't say: the only one there is
    again = _found(replace(first, folder=moved, study="run"), [], ignore)
    assert [trial.value for trial in again.trials if trial.value is not None] == [0.5]
    assert (moved / JOURNAL).read_bytes().startswith(before)


def test_a_lost_journal_is_made_anew_of_the_trials_own_files(bench, search):
    """Trial 0 completed, 1 pruned, 2 failed, 3 began and goes on, 4 never had a folder, 5 completed."""
    ends = {0: [0.3, 0.4, 0.5], 1: [0.1], 5: [0.2, 0.2, 0.6]}
    for number in range(6):
        trial = bench.trial()
        folder = trial_folder(bench.search.folder, number)
        if number == 4:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        values = trial.config["overrides"]
        (folder / "trial.json").write_text(json.dumps({"number": number, "overrides": values, "config_hash": None}))
        for epoch, score in enumerate(ends.get(number, [0.2] if number == 3 else []), start=1):
            add_to_history(folder, {"epoch": epoch, "mpck4": score, "seconds": 1.0})
        if number in ends:
            bench.watcher.settle(number, values)
        elif number == 2:
            bench.watcher.settle(number, values, lost="Error: none")
    before = bench.study.trials
    (bench.search.folder / JOURNAL).unlink()
    heard = []
    anew = _found(bench.search, list(saved_results(bench.search.folder)), heard.append)
    assert [event.why for event in heard] == [
        f"{bench.search.folder / JOURNAL} was gone: made anew of the 6 trials' own files"
    ]
    states = [trial.state.name for trial in anew.trials]
    assert states == ["COMPLETE", "PRUNED", "FAIL", "RUNNING", "RUNNING", "COMPLETE"]
    for old, new in zip(before, anew.trials, strict=True):
        if new.number != 4:
            assert new.params == old.params
    assert [trial.value for trial in anew.trials if trial.state.name == "COMPLETE"] == [0.5, 0.6]
    assert anew.trials[1].intermediate_values == {1: 0.1}
    assert _found(bench.search, list(saved_results(bench.search.folder)), ignore).trials == anew.trials


def test_a_database_without_the_study_is_refused_and_nothing_is_written(bench, tmp_path):
    trial = bench.trial()
    folder = trial_folder(bench.search.folder, 0)
    add_to_history(folder, {"epoch": 3, "mpck4": 0.5, "seconds": 1.0})
    bench.watcher.settle(0, trial.config["overrides"])
    (folder / "trial.json").write_text(json.dumps({"number": 0, "overrides": {}, "config_hash": None}))
    url = f"sqlite:///{tmp_path}/other.db"
    with pytest.raises(UserError, match=r"other.db holds no study 'run'; give the database that does with --storage"):
        _found(replace(bench.search, storage=url), list(saved_results(bench.search.folder)), ignore)
    assert optuna.get_all_study_names(url) == []


def test_a_study_of_that_name_with_other_scores_is_another_search_s(bench, tmp_path):
    trial = bench.trial()
    folder = trial_folder(bench.search.folder, 0)
    folder.mkdir(parents=True)
    (folder / "trial.json").write_text(json.dumps({"number": 0, "overrides": {}, "config_hash": None}))
    add_to_history(folder, {"epoch": 3, "mpck4": 0.5, "seconds": 1.0})
    bench.watcher.settle(0, trial.config["overrides"])
    url = f"sqlite:///{tmp_path}/other.db"
    other = optuna.create_study(study_name="run", storage=url)
    other.tell(other.ask(), 0.7)
    with pytest.raises(UserError, match=r"is another search's: it doesn't know trial 0 of .* as it is"):
        _found(replace(bench.search, storage=url), list(saved_results(bench.search.folder)), ignore)


def test_a_password_is_kept_and_shown_nowhere(tmp_path):
    url = "postgresql://me:wholly-secret@127.0.0.1:9/db?connect_timeout=1"
    assert without_password(url) == "postgresql+psycopg://me@127.0.0.1:9/db?connect_timeout=1"
    assert without_password("sqlite:///study.db") == "sqlite:///study.db"
    assert without_password("postgresql://me@h/db?password=x&sslpassword=y") == "postgresql+psycopg://me@h/db"
    with pytest.raises(
        UserError, match=r"can't open Optuna's storage postgresql\+psycopg://me@127.0.0.1:9/db"
    ) as error:
        open_storage(tmp_path, url)
    assert "wholly-secret" not in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="--storage wants a URL such as"):
        open_storage(tmp_path, "study.db")


def test_a_search_with_a_journal_made_anew_asks_for_other_points(search):
    text = "sampler: random\nloss.tokens: {log: [0.05, 2]}\n"
    first = search(text)
    study = study_of(first)
    asked = [first.space.suggest(study.ask())["loss.tokens"] for _ in range(3)]
    for number, value in enumerate(asked):
        folder = trial_folder(first.folder, number)
        folder.mkdir(parents=True)
        (folder / "trial.json").write_text(json.dumps({"number": number, "overrides": {"loss.tokens": value}}))
    (first.folder / JOURNAL).unlink()
    anew = _found(first, [], ignore)
    assert [trial.params["loss.tokens"] for trial in anew.trials] == asked
    more = [first.space.suggest(anew.ask())["loss.tokens"] for _ in range(2)]
    assert not set(more) & set(asked)


def test_a_journal_that_was_being_made_anew_by_a_killed_process_is_begun_again(search, monkeypatch):
    first = search()
    folder = trial_folder(first.folder, 0)
    folder.mkdir(parents=True)
    (folder / "trial.json").write_text(json.dumps({"number": 0, "overrides": {"loss.tokens": 0.3}}))
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *files: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            _found(first, [], ignore)
    assert optuna.get_all_study_names(open_storage(first.folder, None)) == []
    assert [trial.params for trial in _found(first, [], ignore).trials] == [{"loss.tokens": 0.3}]
    assert sorted(file.name for file in first.folder.iterdir()) == [JOURNAL, "trials"]


def test_three_trials_on_end_that_fail_of_the_same_end_the_search_and_are_tried_again_when_asked(
    bench, search, monkeypatch
):
    """Each says the same of its own folder and step."""
    for number in range(3):
        bench.end(bench.trial(), lost=f"Traceback …\nOSError: /data/trial-{number}: step {number}: no such host")

    def broken(search, room, study, unfinished, watcher, steering):
        for result in saved_results(search.folder):
            watcher.limit.ended(result.error)
        assert watcher.limit.stop_all()

    monkeypatch.setattr("capetune.tuning.study._run", broken)
    said = (
        r"3 trials on end failed of this: OSError: /data/trial-2: .*error.txt; `capetune search --resume run .*--retry"
    )
    with pytest.raises(UserError, match=said):
        run_search(search(), ROOM, ignore)

    asked = []
    monkeypatch.setattr("capetune.tuning.study._run", lambda *given: asked.append(given))
    run_search(search(budget=Budget(trials=4)), ROOM, ignore)
    (_, _, _, unfinished, _, steering) = asked.pop()
    assert (unfinished, steering.due) == ([], 1)
    for _ in range(2):  # cut off before any of them began: they are queued once
        run_search(search(budget=Budget(trials=4), retry=True), ROOM, ignore)
        (_, _, study, unfinished, _, steering) = asked.pop()
        assert (unfinished, steering.due) == ([], 4)
    tokens = [search().space.suggest(study.ask())["loss.tokens"] for _ in range(4)]
    failed = [trial.params["loss.tokens"] for trial in bench.study.trials[:3]]
    assert tokens[:3] == failed
    assert tokens[3] not in failed
