"""Where a session's files lie; that Ray puts nothing elsewhere is in tests/integration."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from capetune.cluster import folder
from capetune.errors import UserError


@pytest.fixture
def short(monkeypatch):
    """A short folder as RAY_TMPDIR."""
    with tempfile.TemporaryDirectory(prefix="c", dir="/tmp") as made:
        monkeypatch.setenv("RAY_TMPDIR", made)
        yield Path(made)


def test_it_is_ours_alone_and_gone_in_the_end(short):
    with folder.session_folder() as made:
        assert made.parent == short
        assert made.stat().st_mode & 0o777 == 0o700
        assert folder.scratch(made).is_dir()
        assert folder.rays(made).parent == made
        (made / "session_x").mkdir()
    assert list(short.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UserError("bad input")])
def test_it_goes_after_an_interruption_and_after_bad_input_too(short, error):
    with pytest.raises(type(error)), folder.session_folder():
        raise error
    assert list(short.iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeError("a worker died"), folder.Kept("can't start Ray")])
def test_after_a_crash_its_logs_are_kept_and_a_note_says_where(short, error):
    def crash(made):
        (made / "session_x" / "logs").mkdir(parents=True)
        raise error

    with pytest.raises(type(error)) as raised, folder.session_folder() as made:
        crash(made)
    assert raised.value.__notes__ == [f"Ray's logs are kept in {made}"]
    assert [path.name for path in made.iterdir()] == ["session_x"]


def test_a_place_that_is_too_long_for_sockets_is_passed_over(tmp_path, monkeypatch):
    long = tmp_path / ("l" * 60)
    long.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with folder.session_folder() as made:
        assert long not in made.parents
        assert len(os.fsencode(made)) + len(folder.BEHIND) - len(f"/{folder.PREFIX}12345678") <= folder.PATH
    assert list(long.iterdir()) == []


def test_where_there_is_no_place_the_cure_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("l" * 60)))
    monkeypatch.setattr(folder.tempfile, "mkdtemp", _refuse)
    with pytest.raises(UserError, match=r"lll is longer than the .* set RAY_TMPDIR to a short folder"):
        folder._make()


def _refuse(prefix, dir):
    raise PermissionError(13, "Permission denied")


def test_only_processes_started_meanwhile_take_it(short, monkeypatch):
    for before in ("/some/where", None):
        if before:
            monkeypatch.setenv("TMPDIR", before)
        else:
            monkeypatch.delenv("TMPDIR")
        with folder.scratch_as_default(short):
            assert os.environ["TMPDIR"] == str(short / "tmp")
        assert os.environ.get("TMPDIR") == before
