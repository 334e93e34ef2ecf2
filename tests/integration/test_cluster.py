"""What Ray does to the machine that a command runs on: where it listens, and what it leaves."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import psutil
import pytest

from capetune.runs.history import read_history

pytestmark = pytest.mark.timeout(900)
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def listening(program) -> set[tuple[str, str]]:
    """(address, program) of every socket that it or a process below it listens on, but for those on loopback."""
    found = set()
    for process in {psutil.Process(program.process.pid), *program.children()}:
        with contextlib.suppress(psutil.Error):
            name = " ".join(process.cmdline())[:80]
            found |= {(c.laddr.ip, name) for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    assert found, "the look itself must see sockets"
    return {(address, name) for address, name in found if address not in LOOPBACK}


def session_of(program) -> Path:
    """The temporary folder of its Ray."""
    for process in program.children():
        with contextlib.suppress(psutil.Error):
            if "raylet" in process.name():
                return Path(process.environ()["TMPDIR"]).parent
    raise AssertionError("no raylet below it")


def named(program, words: str) -> list[psutil.Process]:
    return [process for process in program.children() if words in " ".join(process.cmdline())]


def test_two_workers_listen_on_loopback_only_and_train_on_without_the_queue_of_events(start, place, tiny_pack):
    """In a temporary folder whose path is too long for Ray's sockets, which stays empty."""
    long = place / ("slurm_jobdir_" * 6)
    long.mkdir()
    arguments = ("train", "--data", tiny_pack, "--name", "two", "--workers", 2)
    program = start(*arguments, set_={"train.epochs": 8}, also={"TMPDIR": str(long)})
    program.wait_for("epoch 1/8")
    assert len(named(program, "RayTrainWorker")) == 2
    assert listening(program) == set()
    session = session_of(program)
    assert session.stat().st_mode & 0o777 == 0o700
    assert len(named(program, "_QueueActor")) == 1
    named(program, "_QueueActor")[0].kill()
    assert program.end() == 0, program.err
    assert program.err == []
    assert [row["epoch"] for row in read_history(place / "runs/two")] == list(range(1, 9))
    epochs = [line.split()[1] for line in program.out if line.startswith("epoch ")]
    assert epochs == [f"{epoch}/8" for epoch in range(1, 9)]
    assert not session.exists()
    assert list(long.iterdir()) == []


def test_a_search_listens_on_loopback_only_and_leaves_nothing_in_the_temporary_folder(start, place, tiny_pack):
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as short:
        arguments = ("search", "--space", "losses", "--trials", 1, "--data", tiny_pack, "--name", "ports")
        program = start(*arguments, also={"TMPDIR": short})
        program.wait_for("epoch 1/2")
        assert listening(program) == set()
        session = session_of(program)
        assert session.parent == Path(short)
        assert program.end() == 0, program.err
        assert not session.exists()
        assert list(Path(short).iterdir()) == []
    assert [file.name for file in (place.parent / "home").iterdir()] == ["cache"]
