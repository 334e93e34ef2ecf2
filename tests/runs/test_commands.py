from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from capetune.runs.commands import again


def test_a_run_that_lies_where_commands_look_needs_no_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert again("search --resume", Path("runs/decoder")) == "capetune search --resume decoder"
    assert again("train --best", tmp_path / "runs/decoder") == "capetune train --best decoder"


def test_a_run_elsewhere_is_named_with_its_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert again("search --resume", Path("there/decoder")) == "capetune search --resume decoder --runs there"
    assert again("search --resume", Path("decoder")) == "capetune search --resume decoder --runs ."
    monkeypatch.chdir("/")
    assert again("report", tmp_path / "runs/decoder") == f"capetune report decoder --runs {tmp_path}/runs"


def test_a_link_to_the_place_is_the_place(tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").symlink_to("disk")
    monkeypatch.chdir(tmp_path)
    assert again("report", tmp_path / "disk/decoder") == "capetune report decoder"


@pytest.mark.parametrize("odd", ["my runs", "it's", "$HOME", "a;b", "~", "*"])
def test_a_shell_reads_back_what_was_meant(odd, tmp_path):
    folder = tmp_path / odd / f"renamed {odd}"
    words = shlex.split(again("search --resume", folder))
    assert words == ["capetune", "search", "--resume", folder.name, "--runs", str(folder.parent)]
