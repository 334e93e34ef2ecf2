"""A training's parts without Ray; bad input is in test_bad_input, the real thing in tests/integration."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from capetune.config import load_preset
from capetune.errors import UserError
from capetune.events import ignore
from capetune.runs.checkpoints import FORMAT, META
from capetune.runs.history import add_to_history
from capetune.runs.home import at_work
from capetune.runs.record import Run
from capetune.service.train import came_to_nothing, check_same, check_start


def test_a_run_goes_on_only_with_its_own_configuration_and_data(tmp_path):
    facts = {"config_hash": "abc", "data_hash": "here"}
    run = Run(tmp_path, "train", "interrupted", facts)
    check_same(run, "abc", {"data_hash": "here"})
    for config_hash, data_hash in (("abd", "here"), ("abc", "there")):
        with pytest.raises(UserError, match="another configuration or other data; choose another --name"):
            check_same(run, config_hash, {"data_hash": data_hash})


def test_a_search_is_no_training_to_go_on_with(tmp_path):
    with pytest.raises(UserError, match="was made by `capetune search`"):
        check_same(Run(tmp_path, "search", "completed", {}), "abc", {"data_hash": "here"})


def test_a_new_run_is_anyone_s(tmp_path):
    check_same(Run(tmp_path, "train", "running"), "abc", {"data_hash": "here"})


def test_a_checkpoint_goes_on_only_with_its_own_split_and_longer(tmp_path):
    config = load_preset("demo")
    tree = {"format": FORMAT, "schema": 1, "epoch": 2, "metrics": {}, "data": {}, "config": config.model_dump()}
    (tmp_path / META).write_text(json.dumps(tree))
    check_start(tmp_path, config.with_overrides({"train.epochs": 3}))
    with pytest.raises(UserError, match=r"is of epoch 2 already; give more with --set train\.epochs"):
        check_start(tmp_path, config.with_overrides({"train.epochs": 2}))
    with pytest.raises(UserError, match="was trained on split 1, and has seen categories that split 2 tests"):
        check_start(tmp_path, config.with_overrides({"train.epochs": 3, "data.split": 2}))


def test_the_process_that_only_waits_for_workers_imports_neither_torch_nor_timm():
    code = (
        "import sys\n"
        "import capetune.service.train, capetune.training.launch, capetune.training.worker\n"
        "from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer\n"
        "print(sorted({'torch', 'timm', 'torchvision'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_the_name_of_a_training_that_came_to_nothing_is_free(tmp_path):
    """It ended before its first epoch, of a mistake in its configuration, say."""
    Run(tmp_path, "train", "running").save("failed", config_hash="abc")
    assert came_to_nothing(Run(tmp_path, "train", "failed"))
    assert not came_to_nothing(Run(tmp_path, "train", "completed"))
    assert not came_to_nothing(Run(tmp_path, "search", "failed"))
    (tmp_path / "under-way").mkdir()
    assert not came_to_nothing(Run(tmp_path, "train", "interrupted"))
    (tmp_path / "under-way").rmdir()
    add_to_history(tmp_path, {"epoch": 1})
    assert not came_to_nothing(Run(tmp_path, "train", "failed"))


def test_the_name_of_one_that_is_at_work_is_not(tmp_path):
    run = Run(tmp_path, "train", "running")
    run.save("running")
    with at_work(tmp_path, ignore):
        assert not came_to_nothing(run)
    assert came_to_nothing(run)
