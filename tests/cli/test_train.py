"""`capetune train` without Ray; bad input is in test_bad_input, the real thing in tests/integration."""

from __future__ import annotations

import pytest

from capetune.cli.train import _same
from capetune.errors import UserError
from capetune.training.runs import Run


def test_a_run_goes_on_only_with_its_own_configuration_and_data(tmp_path):
    facts = {"config_hash": "abc", "data_hash": "here"}
    run = Run(tmp_path, "train", "interrupted", facts)
    _same(run, "abc", {"data_hash": "here"})
    for config_hash, data_hash in (("abd", "here"), ("abc", "there")):
        with pytest.raises(UserError, match="another configuration or other data; choose another --name"):
            _same(run, config_hash, {"data_hash": data_hash})


def test_a_search_is_no_training_to_go_on_with(tmp_path):
    with pytest.raises(UserError, match="holds a search"):
        _same(Run(tmp_path, "search", "completed", {}), "abc", {"data_hash": "here"})


def test_a_new_run_is_anyone_s(tmp_path):
    _same(Run(tmp_path, "train", "running"), "abc", {"data_hash": "here"})
