"""What holds of every place: a folder, memory, and S3 as moto serves it."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path

import pytest

from capetune.errors import UserError
from capetune.storage.place import Missing, Place
from tests.storage.conftest import Make


def test_what_is_written_is_read_and_listed_and_gone(place: Place) -> None:
    content = bytes(range(256)) * 10
    place.write("a/b.bin", content)
    place.write("a/b.bin", content[:100])
    place.write("z", b"")
    assert place.read("a/b.bin") == content[:100]
    assert place.size("a/b.bin") == 100
    assert place.read("z") == b""
    assert list(place.names()) == ["a/b.bin", "z"]
    place.delete("a/b.bin")
    place.delete("a/b.bin")
    assert list(place.names()) == ["z"]


def test_ranges_come_in_the_order_asked_for_and_end_with_the_file(place: Place) -> None:
    place.write("file", bytes(range(200)))
    parts = place.read_ranges("file", [(150, 10), (0, 3), (198, 10)])
    assert parts == [bytes(range(150, 160)), bytes([0, 1, 2]), bytes([198, 199])]
    assert place.read_ranges("file", []) == []


def test_a_folder_in_it_is_a_place_of_its_own(place: Place) -> None:
    place.below("x").below("y").write("name", b"1")
    place.below("xx").write("name", b"2")
    assert place.read("x/y/name") == b"1"
    assert list(place.below("x").names()) == ["y/name"]
    assert place.below("x").address == place.address + "/x"


def test_files_travel_whole_both_ways(place: Place, tmp_path: Path) -> None:
    here = tmp_path / "files" / "here"
    here.parent.mkdir()
    here.write_bytes(bytes(range(256)) * 20_000)
    place.send(here, "deep/there")
    back = here.with_name("back")
    place.fetch("deep/there", back)
    assert back.read_bytes() == here.read_bytes()
    assert sorted(file.name for file in here.parent.iterdir()) == ["back", "here"]
    with pytest.raises(Missing):
        place.fetch("nothing", here.with_name("none"))
    assert sorted(file.name for file in here.parent.iterdir()) == ["back", "here"]


@pytest.mark.parametrize("ask", ["read", "size", "read_ranges"])
def test_what_is_not_there_is_named(place: Place, ask: str) -> None:
    arguments = [[(0, 1)]] if ask == "read_ranges" else []
    with pytest.raises(Missing, match=r"(deep|place)/none\.json is missing") as error:
        getattr(place, ask)("none.json", *arguments)
    assert "\n" not in str(error.value)


def test_an_empty_place_lists_nothing(place: Place) -> None:
    assert list(place.names()) == []


def test_of_racing_creators_one_wins(make: Make) -> None:
    """Two hundred races of eight; fewer where each is many requests."""
    for number in range(40 if make().address.startswith(("s3", "gs")) else 200):
        won: list[int] = []
        gate = threading.Barrier(8)

        def race(me: int, name: str, won: list[int] = won, gate: threading.Barrier = gate) -> None:
            place = make()
            gate.wait()
            if place.create(name, f"{me}".encode()):
                won.append(me)

        threads = [threading.Thread(target=race, args=(me, f"race-{number}")) for me in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert make().read(f"race-{number}") == f"{won[0]}".encode()


def test_what_is_taken_stays_as_it_is(place: Place) -> None:
    assert place.create("name", b"first")
    assert not place.create("name", b"second")
    assert place.read("name") == b"first"
    assert list(place.names()) == ["name"]


def test_who_reads_sees_a_whole_file(make: Make) -> None:
    """A writer rewrites it over and over: a reader never sees half of it, nor none."""
    contents = [bytes([number]) * (100_000 + number) for number in range(20)]
    place = make()
    place.write("file", contents[0])
    done = threading.Event()

    def write() -> None:
        for content in contents * 3:
            make().write("file", content)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = 0
    while not done.is_set() or seen == 0:
        assert place.read("file") in contents
        seen += 1
    writer.join()


def test_a_place_travels_to_other_processes(place: Place, make: Make) -> None:
    make().write("name", b"1")
    assert pickle.loads(pickle.dumps(place)).read("name") == b"1"


def test_a_folder_that_can_t_be_written_is_said(tmp_path: Path) -> None:
    from capetune.storage.folder import Folder

    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/name can't be written: "):
        Folder(tmp_path / "file").write("name", b"")
    with pytest.raises(Missing):
        Folder(tmp_path / "file").read("name")
