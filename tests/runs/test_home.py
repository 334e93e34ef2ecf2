from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from capetune.errors import UserError
from capetune.events import Doubted, Event, StepBegan
from capetune.runs.home import at_home, at_work
from capetune.runs.record import Run, who_works
from capetune.runs.registry import begun, find_run, look, run_folder
from capetune.storage import lease
from capetune.storage.address import open_place
from capetune.storage.lease import Superseded, take, who


@pytest.fixture(params=["folder", "address"])
def runs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(lease, "BEAT", 0.05)
    return str(tmp_path / "runs") if request.param == "folder" else f"memory://{uuid4().hex}/runs"


@pytest.fixture
def home(runs: str) -> Iterator[Path]:
    with at_home(runs) as folder:
        yield folder


def wait_for(what) -> None:
    until = time.monotonic() + 20
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_what_is_written_at_work_is_there_for_others(runs: str, home: Path) -> None:
    with at_work(home / "one"):
        Run(home / "one", "train", "running").save("running", started="now")
        wait_for(lambda: "one/run.json" in list(open_place(runs).names()))
    with at_home(runs) as other:
        assert [run.name for run in look(other)[0]] == ["one"]
        assert find_run(other, "one").facts["started"] == "now"
        found = begun(run_folder(other, "one"))
        assert found is not None
        assert found.state_now == "cut off"


def test_a_second_process_is_refused_and_sees_that_one_works_there(runs: str, home: Path) -> None:
    with at_work(home / "one"):
        Run(home / "one", "train", "running").save("running")
        with at_home(runs) as other:
            assert str(who_works(other / "one")).startswith("process ")
            with pytest.raises(UserError, match=r"another capetune works on .*/one now"), at_work(other / "one"):
                pass
        wait_for(lambda: "one/run.json" in list(open_place(runs).names()))
        with at_home(runs) as other:
            assert find_run(other, "one").state_now == "running"


def test_a_next_try_waits_for_a_lost_machine_and_says_so(
    runs: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = take(open_place(f"{runs}/one"))
    lost.holder = replace(lost.holder, machine="another", host="other-host")
    assert lost.beat()
    monkeypatch.setattr(lease, "SILENCE", 2.0)
    monkeypatch.setattr(lease, "LOOK", 0.2)
    told: list[Event] = []
    with at_work(home / "one", told.append, patient=True) as desk:
        assert desk.number == lost.number + 1
    (doubt,) = told
    assert isinstance(doubt, Doubted)
    assert doubt.why.startswith("waiting up to 2 s: another capetune works on ")
    assert "on other-host" in doubt.why


def test_work_that_came_to_nothing_leaves_nothing(runs: str, home: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError), at_work(home / "one"):
        raise UserError("a space that doesn't fit")
    assert list(open_place(runs).names()) == []
    assert not (tmp_path / "runs").exists()


def test_it_lives_as_long_as_the_work_takes(runs: str, home: Path) -> None:
    place = open_place(f"{runs}/one")
    with at_work(home / "one"):
        (home / "one/run.json").write_text("{}")
        wait_for(lambda: json.loads(place.read("lease/000001.json"))["beats"] > 3)
        assert who(place) is not None
    assert who(place) is None


def test_who_was_succeeded_writes_nothing_more_and_ends_at_its_next_event(runs: str, home: Path) -> None:
    place = open_place(f"{runs}/one")
    heard: list[Event] = []

    def work() -> None:
        with at_work(home / "one", heard.append) as desk:
            (home / "one/run.json").write_text("{}")
            desk.hear(StepBegan("ray"))
            wait_for(lambda: "run.json" in list(place.names()))
            place.write("lease/000002.json", place.read("lease/000001.json"))
            wait_for(lambda: desk.superseded)
            if desk.copy is not None:
                (home / "one/late.json").write_text("{}")
            desk.hear(StepBegan("workers"))

    with pytest.raises(Superseded, match=r"another capetune has taken over .*/one"):
        work()
    assert heard == [StepBegan("ray")]
    assert "late.json" not in list(place.names())
    assert str(who(place)).startswith("process ")  # the other one still does


@pytest.fixture
def distant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A home that is a copy of runs at an address."""
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(lease, "BEAT", 0.05)
    with at_home(f"memory://{uuid4().hex}/runs") as folder:
        yield folder


def test_a_store_that_is_away_is_said_once_and_what_was_written_goes_there_later(
    distant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Event] = []
    with at_work(distant / "one", heard.append) as desk:
        assert desk.copy is not None
        really, away = desk.copy.send, [True]

        def send() -> None:
            if away[0]:
                raise UserError("s3://b/runs: the store can't be reached; tried 31 times")
            really()

        monkeypatch.setattr(desk.copy, "send", send)
        (distant / "one/run.json").write_text("{}")
        wait_for(lambda: heard)
        time.sleep(0.3)
        assert [type(event) for event in heard] == [Doubted]
        away[0] = False
    assert "run.json" in list(desk.place.names())


def test_a_store_that_stays_away_is_a_clear_end(distant: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def send() -> None:
        raise UserError("s3://b/runs: the store answers 503")

    def work() -> None:
        with at_work(distant / "one") as desk:
            (distant / "one/run.json").write_text("{}")
            monkeypatch.setattr(desk.copy, "send", send)

    with pytest.raises(UserError, match="the store answers 503"):
        work()


def test_errors_name_the_address(runs: str) -> None:
    with pytest.raises(UserError) as raised, at_home(runs) as folder:
        find_run(folder, "none")
    assert str(raised.value) == f"there is no run 'none' in {runs} (there: none yet)"


def test_two_of_one_place_take_numbers_in_turn(runs: str) -> None:
    place = open_place(f"{runs}/one")
    first = take(place)
    first.end()
    second = take(place)
    assert (first.number, second.number) == (1, 2)
    assert list(place.names()) == ["lease/000002.json"]
