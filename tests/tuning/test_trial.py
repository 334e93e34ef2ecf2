"""A trial's folder; what fills it with epochs is in tests/integration."""

from __future__ import annotations

from pathlib import Path

import pytest

from capetune.datasets.packs.reader import PackDamaged
from capetune.errors import UserError
from capetune.runs.desk import Bench
from capetune.runs.failures import ERROR
from capetune.runs.results import saved_results, trial_folder
from capetune.tuning import trial as module
from capetune.tuning.goal import Goal
from capetune.tuning.preflight import Plan
from capetune.tuning.trial import Away, DiskFull, Work, fill_folder


@pytest.fixture
def work(tmp_path, config):
    return Work(config, str(tmp_path / "pack"), str(tmp_path / "run"), Goal(("mpck4",), ("max",)), Plan(1, 1, 1, "cpu"))


@pytest.fixture
def folder(work):
    path = trial_folder(Path(work.run), 0)
    path.mkdir(parents=True)
    return path


def raising(error):
    def train(*_):
        raise error

    return train


def test_an_error_is_kept_as_a_traceback(work, folder, monkeypatch):
    monkeypatch.setattr(module, "_train", raising(ZeroDivisionError("by zero")))
    fill_folder(Bench(folder), {"number": 0, "overrides": {"loss.tokens": 0.3}}, work)
    assert (folder / ERROR).read_text().endswith("ZeroDivisionError: by zero\n")
    assert "tokens: 0.3" in (folder / "config.yaml").read_text()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("I/O: No space left (28)")])
def test_a_full_disk_is_no_fault_of_the_trial(work, folder, monkeypatch, error):
    monkeypatch.setattr(module, "_train", raising(error))
    with pytest.raises(DiskFull):
        fill_folder(Bench(folder), {"number": 0, "overrides": {}}, work)
    assert not (folder / ERROR).exists()


def test_a_pack_that_is_damaged_or_gone_is_no_fault_of_the_trial(work, folder, monkeypatch):
    with pytest.raises(Away, match="pack doesn't exist; make a pack"):
        fill_folder(Bench(folder), {"number": 0, "overrides": {}}, work)
    monkeypatch.setattr(module, "_train", raising(PackDamaged("pack/shard-00000.tar is damaged: make the pack again")))
    with pytest.raises(Away, match="is damaged: make the pack again"):
        fill_folder(Bench(folder), {"number": 0, "overrides": {}}, work)
    assert not (folder / ERROR).exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"number": 1}'])
def test_a_damaged_result_counts_as_not_written(work, folder, content):
    (folder / "result.json").write_text(content)
    assert list(saved_results(Path(work.run))) == []


def test_every_kind_of_bad_input_is_told_as_bad_input(work, folder, monkeypatch):
    class Special(UserError):
        pass

    monkeypatch.setattr(module, "_train", raising(Special("too high; lower it")))
    fill_folder(Bench(folder), {"number": 0, "overrides": {}}, work)
    assert (folder / ERROR).read_text().endswith("\ncapetune.errors.UserError: too high; lower it\n")
    assert "in train" in (folder / ERROR).read_text()
