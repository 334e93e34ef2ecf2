from __future__ import annotations

import os
import socket
import subprocess

import pytest

from capetune.errors import UserError
from capetune.storage.whole import whole, write_aside


def test_a_folder_appears_when_it_is_whole(tmp_path):
    out = tmp_path / "deep" / "out"
    with whole(out) as aside:
        (aside / "file").write_text("x")
        assert not out.exists()
    assert (out / "file").read_text() == "x"
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_nothing_is_left_of_one_that_was_not_finished(tmp_path, error):
    def broken():
        with whole(tmp_path / "out") as aside:
            (aside / "file").write_text("x")
            raise error

    with pytest.raises(error):
        broken()
    assert not list(tmp_path.iterdir())


def test_what_is_there_stays_and_is_said(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/file").write_text("old")
    with pytest.raises(UserError, match=r"can't write .*not empty"), whole(tmp_path / "out") as aside:
        (aside / "file").write_text("new")
    assert (tmp_path / "out/file").read_text() == "old"


def test_what_a_killed_process_left_goes_but_not_what_another_one_fills(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    mark = f"out.partial-{socket.gethostname()}"
    names = {f"{mark}-{ended.pid}": False, f"{mark}-{os.getppid()}": True, "out.partial-elsewhere-1": True}
    for name in names:
        (tmp_path / name).mkdir()
    with whole(tmp_path / "out"):
        assert {name: (tmp_path / name).is_dir() for name in names} == names


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "a.json"
    write_aside(file, "old")

    def torn(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", torn)
    with pytest.raises(KeyboardInterrupt):
        write_aside(file, "new")
    assert file.read_text() == "old"
