"""The parts of starting Ray that need no Ray, but for one; the whole is in tests/integration."""

from __future__ import annotations

import os
import sys

import pytest

from capetune.cluster import environment
from capetune.errors import UserError


@pytest.fixture
def private(tmp_path, monkeypatch):
    """A cache, and an environment that forgets what is set in it."""
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path / "cache"))
    kept = dict(os.environ)
    yield tmp_path / "cache"
    os.environ.clear()
    os.environ.update(kept)


def test_the_token_is_made_once_and_readable_to_us_only(private):
    environment._guard()
    file = private / "ray-token"
    token = file.read_text()
    assert len(token) == 64
    assert file.stat().st_mode & 0o777 == 0o600
    environment._guard()
    assert file.read_text() == token
    assert [path.name for path in private.iterdir()] == ["ray-token"]
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == str(file)
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"


def test_of_two_processes_that_make_the_token_the_second_takes_the_first_s(private, monkeypatch):
    def first(source, target):
        target.write_text("theirs")
        raise FileExistsError

    monkeypatch.setattr(os, "link", first)
    environment._guard()
    assert (private / "ray-token").read_text() == "theirs"
    assert [path.name for path in private.iterdir()] == ["ray-token"]


def test_a_cache_that_can_not_be_made_is_said_with_the_cure(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match="set CAPETUNE_CACHE to a folder you own"):
        environment._guard()


def test_preparing_twice_is_fine(private, monkeypatch):
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    environment.prepare_environment(None, False)
    prepared = dict(os.environ)
    environment.prepare_environment(None, False)
    assert dict(os.environ) == prepared
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_what_the_user_set_for_ray_stays(private, monkeypatch):
    monkeypatch.setenv("RAY_TRAIN_ENABLE_STATE_TRACKING", "0")
    environment._set_environment(verbose=True)
    assert os.environ["RAY_TRAIN_ENABLE_STATE_TRACKING"] == "0"


def test_the_token_of_a_joined_cluster_is_in_a_file_where_ray_reads_it_from_one(tmp_path, monkeypatch):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    usual = tmp_path / ".ray/auth_token"
    usual.parent.mkdir()
    usual.write_text("secret")
    assert environment.token_at_hand() is None  # the cluster asks for none
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert environment.token_at_hand() == usual
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "mine"))
    assert environment.token_at_hand() is None
    (tmp_path / "mine").write_text("secret")
    assert environment.token_at_hand() == tmp_path / "mine"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    assert environment.token_at_hand() is None
