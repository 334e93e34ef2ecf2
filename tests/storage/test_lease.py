"""The lease's contract, for a folder, memory and S3 as moto serves it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from capetune.errors import UserError
from capetune.storage import lease
from capetune.storage.address import open_place
from capetune.storage.lease import Held, Holder, Lease, superseded, take, take_patiently, who
from capetune.storage.place import Place
from tests.storage.conftest import Make

RACES, RACERS = 70, 8  # of each place: 210 in all


def elsewhere(place: Place, **changes: object) -> Lease:
    """One that a process of another machine holds."""
    held = take(place)
    held.holder = replace(held.holder, machine="another", host="other-host", **changes)
    assert held.beat()
    return held


def test_nobody_works_where_nothing_is(place: Place) -> None:
    assert who(place) is None
    assert list(place.names()) == []


def test_the_second_comer_is_told_who_works_there_and_since_when(place: Place) -> None:
    first = take(place)
    with pytest.raises(UserError) as refused:
        take(place)
    said = str(refused.value)
    assert said.startswith(f"another capetune works on {place.address} now (process ")
    assert f"on {first.holder.host}, since {first.holder.since}" in said
    first.end()
    assert who(place) is None
    assert take(place).number == first.number + 1


def test_races_have_one_winner_each(make: Make) -> None:
    for race in range(RACES):
        won: list[Lease] = []
        ready = threading.Barrier(RACERS)

        def run(won: list[Lease] = won, ready: threading.Barrier = ready) -> None:
            place = make()
            ready.wait()
            with contextlib.suppress(UserError):
                won.append(take(place))

        racers = [threading.Thread(target=run) for _ in range(RACERS)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert len(won) == 1, f"race {race}"
        won[0].end()


def test_who_is_silent_for_long_enough_on_another_machine_is_succeeded_and_knows(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = elsewhere(place)
    with pytest.raises(UserError, match=r"on other-host, since .*, last sign of life \d s ago"):
        take(place)
    monkeypatch.setattr(lease, "SILENCE", 1.5)  # S3 tells whole seconds
    time.sleep(3)
    assert who(place) is None
    second = take(place)
    assert superseded(place, first.number)
    assert not first.beat()
    first.end()  # changes nothing
    assert who(place) == second.holder.words
    assert second.beat()


def test_a_sign_of_life_keeps_others_away(tmp_path: Path) -> None:
    place = open_place(tmp_path)
    first = elsewhere(place)
    long_ago = time.time() - 2 * lease.SILENCE
    os.utime(tmp_path / "lease/000001.json", (long_ago, long_ago))
    assert who(place) is None
    assert first.beat()
    with pytest.raises(UserError, match="other-host"):
        take(place)


def test_a_scheduler_s_next_try_waits_whether_the_lost_machine_stays_silent(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = elsewhere(place)
    monkeypatch.setattr(lease, "SILENCE", 2.0)
    monkeypatch.setattr(lease, "LOOK", 0.2)
    told: list[str] = []
    second = take_patiently(place, told.append)
    assert superseded(place, first.number)
    assert second.beat()
    (line,) = told
    assert line.startswith(f"waiting up to 2 s: another capetune works on {place.address} now (process ")
    assert "on other-host" in line
    assert line.endswith(" s ago), and may be gone")


def test_a_next_try_is_refused_as_soon_as_the_other_machine_is_heard_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_place(tmp_path)
    first, end = elsewhere(place), threading.Event()
    monkeypatch.setattr(lease, "LOOK", 0.5)

    def live() -> None:
        while not end.wait(0.3):
            first.beat()

    alive = threading.Thread(target=live)
    alive.start()
    begun = time.monotonic()
    try:
        with pytest.raises(Held, match="other-host"):
            take_patiently(place, lambda line: None)
    finally:
        end.set()
        alive.join()
    assert time.monotonic() - begun < lease.SILENCE / 2


def test_of_a_process_of_this_machine_it_is_known_at_once_that_it_is_gone(tmp_path: Path) -> None:
    code = (
        "import sys; from capetune.storage.address import open_place; from capetune.storage.lease import take\n"
        "take(open_place(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    place = open_place(tmp_path)
    with pytest.raises(UserError, match=f"process {other.pid} of "):
        take(place)
    other.kill()
    other.communicate()
    assert who(place) is None
    assert take(place).number == 2


def test_another_process_of_the_same_pid_is_not_the_one_that_held_it(place: Place) -> None:
    held = take(place)
    held.holder = replace(held.holder, started=held.holder.started - 1000)
    held.beat()
    assert who(place) is None


@pytest.mark.parametrize("content", [b"", b"{}", b'{"machine": 3}', b"\xff\xfe", b"[" * 5000])
def test_a_lease_that_can_not_be_read_counts_by_its_age(
    place: Place, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write("lease/000007.json", content)
    assert str(who(place)).startswith("somebody whose lease can't be read")
    monkeypatch.setattr(lease, "SILENCE", -1.0)
    assert take(place).number == 8


def test_a_machine_is_the_same_for_all_its_processes() -> None:
    code = "from capetune.storage.lease import _machine; print(_machine())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == Holder.here().machine
