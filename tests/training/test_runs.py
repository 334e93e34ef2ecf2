from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.nn import Linear

from capetune.config import Config
from capetune.errors import UserError
from capetune.training import runs as module
from capetune.training.checkpoint import save_checkpoint
from capetune.training.kept import CheckpointMeta
from capetune.training.runs import (
    Run,
    add_to_history,
    all_runs,
    error_line,
    find_search,
    held,
    is_held,
    keep_epoch,
    latest_best,
    read_history,
    read_results,
    read_run,
    resume_point,
    run_folder,
)


def make(folder: Path, kind="search", state="completed", started="2026-01-01", best=True):
    Run(folder, kind, state).save(state, started=started)
    if best:
        (folder / "best.yaml").write_text("seed: 1\n")


def test_a_run_is_read_as_it_was_saved(tmp_path):
    run = Run(tmp_path / "one", "train", "running")
    run.save("running", config_hash="abc")
    run.save("completed", more=1)
    again = read_run(tmp_path / "one")
    assert again is not None
    assert (again.kind, again.state, again.name) == ("train", "completed", "one")
    assert (again.facts["config_hash"], again.facts["more"]) == ("abc", 1)
    assert again.facts["started"] <= again.facts["updated"]
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["run.json"]


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"kind": "search"}', "{broken"])
def test_what_is_no_run_is_none(tmp_path, text):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    assert read_run(tmp_path) is None


def test_runs_come_the_latest_first(tmp_path):
    for name, started in (("a", "2026-01-01"), ("b", "2026-03-01"), ("c", "2026-02-01")):
        make(tmp_path / name, started=started)
    (tmp_path / "stray").mkdir()
    assert [run.name for run in all_runs(tmp_path)] == ["b", "c", "a"]
    assert list(all_runs(tmp_path / "nowhere")) == []


def test_the_latest_search_with_a_best_configuration_is_found_or_the_one_that_is_named(tmp_path):
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


def test_an_epoch_that_is_repeated_replaces_itself_and_what_came_after(tmp_path):
    for epoch, loss in ((1, 3.0), (2, 2.0), (3, 1.0), (2, 2.5)):
        add_to_history(tmp_path, {"epoch": epoch, "loss": loss})
    assert read_history(tmp_path) == [{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 2.5}]
    assert [path.name for path in tmp_path.iterdir()] == ["history.jsonl"]
    assert read_history(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Traceback …\n  File …\nValueError: no\n", "ValueError: no"),
        (
            "Traceback …\nx.y.ValidationError: 1 error\nkey\n  Extra [x]\n    For more see …",
            "x.y.ValidationError: 1 error",
        ),
        ("ValueError: first\n\nDuring …\nKeyError: 'second'", "KeyError: 'second'"),
        ("it ended\nof itself\n", "of itself"),
        ("", "no reason given"),
    ],
)
def test_the_line_that_names_the_error_is_found(text, line):
    assert error_line(text) == line


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


class Meta:
    def __init__(self, score):
        self.score = score


def test_a_search_s_best_checkpoint_is_that_of_its_best_trial_that_has_one(tmp_path, monkeypatch):
    make(tmp_path / "search")
    trials = [{"checkpoint": None}, {"checkpoint": "trials/trial-002/epoch-0001"}, {"checkpoint": "trials/x"}]
    (tmp_path / "search/results.json").write_text(json.dumps({"trials": trials}))
    monkeypatch.setattr(module, "read_meta", lambda folder: Meta(0.5))
    (tmp_path / "search/trials/trial-002/epoch-0001").mkdir(parents=True)
    (tmp_path / "search/trials/trial-002/epoch-0001/meta.json").touch()
    path, _ = latest_best(tmp_path)
    assert path == tmp_path / "search/trials/trial-002/epoch-0001"


def test_a_search_s_best_is_one_whose_checkpoint_is_there(tmp_path, monkeypatch):
    make(tmp_path / "search")
    run = read_run(tmp_path / "search")
    trials = [{"checkpoint": "trials/trial-001/epoch-0003"}, {"checkpoint": "trials/trial-002/epoch-0001"}]
    (tmp_path / "search/results.json").write_text(json.dumps({"trials": trials}))
    (tmp_path / "search/trials/trial-002/epoch-0001").mkdir(parents=True)
    (tmp_path / "search/trials/trial-002/epoch-0001/meta.json").touch()
    monkeypatch.setattr(module, "read_meta", lambda folder: Meta(0.5))
    assert run.best()[0] == tmp_path / "search/trials/trial-002/epoch-0001"


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_results_that_are_damaged_count_as_none(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    assert read_results(tmp_path) == {}


def test_a_folder_is_held_by_one_process_at_a_time(tmp_path):
    code = (
        "import sys; from pathlib import Path; from capetune.training.runs import held\n"
        "with held(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "held\n"
    assert is_held(tmp_path / "run")
    with pytest.raises(UserError, match="another capetune works on"), held(tmp_path / "run"):
        pass
    other.kill()
    other.communicate()
    assert not is_held(tmp_path / "run")
    with held(tmp_path / "run"):  # a killed process holds nothing
        pass


def test_to_ask_whether_a_folder_is_held_writes_nothing(tmp_path):
    assert not is_held(tmp_path / "none")
    assert not is_held(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_latest_run_that_has_a_checkpoint_gives_it(tmp_path, monkeypatch):
    make(tmp_path / "old", "train", started="2026-01-01")
    make(tmp_path / "new", "train", started="2026-01-02")
    monkeypatch.setattr(module, "best_checkpoint", lambda folder: (folder, Meta(0)) if folder.name == "old" else None)
    assert latest_best(tmp_path)[0].name == "old"
    monkeypatch.setattr(module, "best_checkpoint", lambda folder: None)
    with pytest.raises(UserError, match=r"there is no checkpoint in .*; train one with `capetune train`"):
        latest_best(tmp_path)


def test_run_json_is_a_document_for_others(tmp_path):
    make(tmp_path / "one")
    tree = json.loads((tmp_path / "one/run.json").read_text())
    assert {"capetune", "kind", "state", "started", "updated"} <= set(tree)


def test_a_hold_that_came_to_nothing_leaves_nothing(tmp_path):
    with held(tmp_path / "runs/one"):
        pass
    assert list(tmp_path.iterdir()) == []
    with held(tmp_path / "runs/one"):
        (tmp_path / "runs/one/run.json").write_text("{}")
    assert sorted(path.name for path in (tmp_path / "runs/one").iterdir()) == [".lock", "run.json"]


@pytest.mark.parametrize("known", [1, 2])
def test_a_training_goes_on_from_its_latest_epoch_whose_metrics_are_made_good(tmp_path: Path, known) -> None:
    for epoch in (1, 2):
        metrics = {"epoch": epoch, "mpck4": 0.1 * epoch}
        if epoch <= known:
            add_to_history(tmp_path, metrics)
        meta = CheckpointMeta(Config(), epoch, metrics, {})
        save_checkpoint(tmp_path / f"epoch-{epoch:04d}", Linear(1, 1), meta, {})
    assert resume_point(tmp_path, mend=False) == tmp_path / "epoch-0002"
    assert len(read_history(tmp_path)) == known
    assert resume_point(tmp_path) == tmp_path / "epoch-0002"
    assert read_history(tmp_path) == [{"epoch": 1, "mpck4": 0.1}, {"epoch": 2, "mpck4": 0.2}]


def test_an_epoch_tried_again_replaces_what_was_left_of_it_and_of_later_ones(tmp_path: Path) -> None:
    written: list[float] = []

    def keep(epoch: int, score: float) -> Path:
        metrics = {"epoch": epoch, "mpck4": score}
        meta = CheckpointMeta(Config(), epoch, metrics, {})
        save = functools.partial(save_checkpoint, model=Linear(1, 1), meta=meta, training={})
        return keep_epoch(tmp_path, metrics, save, lambda row: written.append(row["mpck4"]), "mpck4", "max")

    for epoch, score in enumerate((0.3, 0.1, 0.2), 1):
        assert keep(epoch, score) == tmp_path / f"epoch-{epoch:04d}"
    assert sorted(path.name for path in tmp_path.glob("epoch-*")) == ["epoch-0001", "epoch-0003"]  # best and latest
    keep(2, 0.4)
    assert [path.name for path in tmp_path.glob("epoch-*")] == ["epoch-0002"]
    assert read_history(tmp_path) == [{"epoch": 1, "mpck4": 0.3}, {"epoch": 2, "mpck4": 0.4}]
    assert written == [0.3, 0.1, 0.2, 0.4]
