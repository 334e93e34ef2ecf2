from __future__ import annotations

import os
from pathlib import Path

import pytest

from capetune.errors import UserError
from capetune.runs import record as module
from capetune.runs.registry import all_runs, find_search, latest_best, run_folder


class Meta:
    def __init__(self, score):
        self.score = score


def test_runs_come_the_latest_first(make, tmp_path):
    for name, started in (("a", "2026-01-01"), ("b", "2026-03-01"), ("c", "2026-02-01")):
        make(tmp_path / name, started=started)
    (tmp_path / "stray").mkdir()
    assert [run.name for run in all_runs(tmp_path)] == ["b", "c", "a"]
    assert list(all_runs(tmp_path / "nowhere")) == []


def test_the_latest_search_with_a_best_configuration_is_found_or_the_one_that_is_named(make, tmp_path):
    make(tmp_path / "old", started="2026-01-01")
    make(tmp_path / "cut", state="interrupted", started="2026-01-02")
    make(tmp_path / "none", started="2026-01-03", best=False)
    make(tmp_path / "training", "train", started="2026-01-04")
    assert find_search(tmp_path, None).name == "cut"
    assert find_search(tmp_path, "old").name == "old"
    with pytest.raises(UserError, match="search 'none' has no best configuration yet"):
        find_search(tmp_path, "none")
    with pytest.raises(UserError, match="'training' is no search, it was made by `capetune train`"):
        find_search(tmp_path, "training")
    with pytest.raises(UserError, match=r"there is no search 'unheard' in .* \(there: none, cut, old\)"):
        find_search(tmp_path, "unheard")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "-a", "a b", "ä", "a\n", "x" * 101, "~"])
def test_odd_names_are_refused(tmp_path, name):
    with pytest.raises(UserError, match="can't be a run's name"):
        run_folder(tmp_path, name)


def test_a_folder_for_runs_need_not_exist_yet_and_isn_t_made(tmp_path, monkeypatch):
    assert run_folder(tmp_path / "a/b", "one-1.2_3") == tmp_path / "a/b/one-1.2_3"
    monkeypatch.chdir(tmp_path)
    assert run_folder(Path("runs"), "one") == Path("runs/one")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_can_not_hold_runs_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file is not a folder we may write to; give another --runs"):
        run_folder(tmp_path / "file" / "runs", "one")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match="can't write runs into"):
        run_folder(tmp_path, "one")


def test_the_latest_run_that_has_a_checkpoint_gives_it(make, tmp_path, monkeypatch):
    make(tmp_path / "old", "train", started="2026-01-01")
    make(tmp_path / "new", "train", started="2026-01-02")
    monkeypatch.setattr(module, "best_checkpoint", lambda folder: (folder, Meta(0)) if folder.name == "old" else None)
    assert latest_best(tmp_path)[0].name == "old"
    monkeypatch.setattr(module, "best_checkpoint", lambda folder: None)
    with pytest.raises(UserError, match=r"there is no checkpoint in .*; train one with `capetune train`"):
        latest_best(tmp_path)


def test_a_folder_of_runs_that_can_not_be_read_is_said(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)  # root may read everything
    with pytest.raises(UserError, match=r"can't read .*: Permission denied"):
        list(all_runs(tmp_path))
