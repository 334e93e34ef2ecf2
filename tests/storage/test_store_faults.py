"""S3 behind a network that fails: what passes is tried again, what stays is one line, and never half a file."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from capetune.errors import UserError
from capetune.storage import store as module
from capetune.storage.shelf import opened
from capetune.storage.store import Store
from tests.storage.proxy import faulty

CONTENT = bytes(range(256)) * 4000  # a million bytes


@pytest.fixture(autouse=True)
def _fresh_clients() -> Iterator[None]:
    """Each test has its own server, and clients keep theirs."""
    module._client.cache_clear()
    yield
    module._client.cache_clear()


@pytest.fixture
def upstream(s3: dict[str, str], bucket: str) -> tuple[str, int]:
    Store(bucket, "faults").write("shard.tar", CONTENT)
    module._client.cache_clear()
    url = urlsplit(s3["AWS_ENDPOINT_URL"])
    return str(url.hostname), int(url.port or 0)


@pytest.fixture
def place(bucket: str) -> Store:
    return Store(bucket, "faults")


def unavailable(client: socket.socket) -> bool:
    client.recv(65536)
    client.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    return True


@pytest.mark.parametrize("kind", ["503", "reset", "slow"])
def test_a_store_that_fails_for_a_while_is_asked_again(upstream, place, monkeypatch, tmp_path, kind) -> None:
    def fault(number: int, client: socket.socket) -> bool:
        if kind == "slow":
            time.sleep(0.3)
            return False
        if number > 3:
            return False
        return unavailable(client) if kind == "503" else True

    with faulty(*upstream, fault, lambda number: None) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        assert place.read("shard.tar") == CONTENT
        place.write("small", b"1")
        place.fetch("shard.tar", tmp_path / "here")
    assert (tmp_path / "here").read_bytes() == CONTENT


def test_a_body_that_ends_too_soon_is_never_taken_for_the_whole(upstream, place, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path / "cache"))
    with faulty(*upstream, lambda number, client: False, lambda n: 300_000 if n <= 2 else None) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with opened(place, "shard.tar", len(CONTENT), hashlib.sha256(CONTENT).hexdigest()) as stream:
            assert stream.read() == CONTENT
        assert place.read("shard.tar") == CONTENT


def test_a_store_that_stays_away_is_one_line_without_a_secret(upstream, place, monkeypatch, s3, tmp_path) -> None:
    from datetime import timedelta

    monkeypatch.setattr(module, "PATIENCE", timedelta(seconds=2))
    with faulty(*upstream, lambda number, client: unavailable(client), lambda number: None) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(
            UserError, match=r"faults/shard.tar: the store answers 503 Service Unavailable; tried for \d+ s"
        ) as error:
            place.fetch("shard.tar", tmp_path / "here")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    module._client.cache_clear()
    with pytest.raises(UserError, match=r"faults/shard.tar: the store can't be reached; tried for \d+ s") as gone:
        place.read("shard.tar")
    for said in (str(error.value), str(gone.value)):
        assert "\n" not in said
        assert s3["AWS_SECRET_ACCESS_KEY"] not in said


def test_no_credentials_are_said(upstream, place, monkeypatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    from datetime import timedelta

    monkeypatch.setattr(module, "PATIENCE", timedelta(seconds=1))
    with pytest.raises(UserError, match="there are no credentials in the environment"):
        place.read("shard.tar")
