from __future__ import annotations

import subprocess
import sys

import pytest

from capetune.errors import UserError
from capetune.storage.hold import held, is_held


class Meta:
    def __init__(self, score):
        self.score = score


def test_a_folder_is_held_by_one_process_at_a_time(tmp_path):
    code = (
        "import sys; from pathlib import Path; from capetune.storage.hold import held\n"
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


def test_a_hold_that_came_to_nothing_leaves_nothing(tmp_path):
    with held(tmp_path / "runs/one"):
        pass
    assert list(tmp_path.iterdir()) == []
    with held(tmp_path / "runs/one"):
        (tmp_path / "runs/one/run.json").write_text("{}")
    assert sorted(path.name for path in (tmp_path / "runs/one").iterdir()) == [".lock", "run.json"]
