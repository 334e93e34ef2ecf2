from __future__ import annotations

import socket
import subprocess
import sys
import time

import pytest

from capetune.cluster import head
from capetune.cluster.head import HeadLost, answers, watched


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LOOK": 0.05, "OURS": 0.2, "OTHERS": 0.4, "GRACE": 5.0}.items():
        monkeypatch.setattr(head, name, value)


def listener() -> tuple[socket.socket, str]:
    server = socket.create_server(("127.0.0.1", 0))
    return server, f"127.0.0.1:{server.getsockname()[1]}"


def work(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.01)


def test_a_head_that_answers_disturbs_nobody() -> None:
    server, address = listener()
    heard: list[str] = []
    with server, watched(address, True, "again", heard.append):
        work(0.6)
    assert heard == []


@pytest.mark.parametrize("ours", [True, False])
def test_one_that_is_gone_ends_the_work_and_says_what_to_type(ours: bool) -> None:
    server, address = listener()
    heard: list[str] = []

    def search() -> None:
        with watched(address, ours, "capetune search --resume it", heard.append):
            server.close()
            work(20)

    with pytest.raises(HeadLost, match="Ray's head is gone; what was finished is kept"):
        search()
    assert heard[-1].endswith("Go on with it: capetune search --resume it")
    assert len(heard) == (1 if ours else 2)
    if not ours:
        assert heard[0].startswith(f"Ray's head at {address} doesn't answer")


def test_one_that_comes_back_in_time_ends_nothing() -> None:
    server, address = listener()
    heard: list[str] = []
    port = int(address.rpartition(":")[2])
    with watched(address, False, "again", heard.append):
        server.close()
        work(0.2)
        server = socket.create_server(("127.0.0.1", port))
        work(0.8)
    server.close()
    assert len(heard) == 1


def test_work_that_never_hears_of_it_is_ended_with_its_process() -> None:
    code = """
import threading
from capetune.cluster import head
head.LOOK, head.OURS, head.GRACE = 0.05, 0.1, 0.2
with head.watched("127.0.0.1:1", True, "the same again", print):
    lock = threading.Lock(); lock.acquire(); lock.acquire()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stdout.endswith("Go on with it: the same again\n")


@pytest.mark.parametrize("address", ["", "nowhere", "127.0.0.1:1", "127.0.0.1:99999", "127.0.0.1:x"])
def test_what_is_no_address_does_not_answer(address: str) -> None:
    assert not answers(address)
