from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from capetune.errors import UserError
from capetune.storage.address import open_place
from capetune.storage.place import Missing
from capetune.storage.shelf import LIMIT, SHARDS, opened
from capetune.storage.store import Store


def content(number: int) -> bytes:
    return bytes([number]) * 1000


def digest(number: int) -> str:
    return hashlib.sha256(content(number)).hexdigest()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shards that the machine keeps."""
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / SHARDS


@pytest.fixture
def place(tmp_path: Path, folder: Path) -> Store:
    """Ten shards elsewhere."""
    place = open_place(f"memory://{tmp_path.name}/pack")
    for number in range(10):
        place.write(f"{number}.tar", content(number))
    return place


def take(place: Store, number: int) -> bytes:
    with opened(place, f"{number}.tar", 1000, digest(number)) as stream:
        return stream.read()


def kept(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir() if not file.name.startswith(".")}


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that were fetched."""
    names: list[str] = []
    fetch = Store.fetch

    def counted(self: Store, name: str, file: Path) -> None:
        names.append(name)
        fetch(self, name, file)

    monkeypatch.setattr(Store, "fetch", counted)
    return names


def test_a_shard_is_fetched_once_and_read_from_here(place: Store, folder: Path, fetched: list[str]) -> None:
    assert [take(place, 3) for _ in range(3)] == [content(3)] * 3
    assert fetched == ["3.tar"]
    assert kept(folder) == {digest(3)}


def test_of_a_folder_nothing_is_copied(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "3.tar").write_bytes(content(3))
    assert take(open_place(tmp_path), 3) == content(3)
    assert not folder.exists()


def test_many_who_want_it_at_once_fetch_it_once(place: Store, fetched: list[str]) -> None:
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(take(place, 5))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [content(5)] * 8
    assert fetched == ["5.tar"]


def test_the_least_recently_used_go_where_the_limit_is_reached(place: Store, folder: Path, monkeypatch) -> None:
    monkeypatch.setenv(LIMIT, "3500")
    for second, number in enumerate((0, 1, 2)):
        take(place, number)
        os.utime(folder / digest(number), (second, second))
    take(place, 0)
    take(place, 7)
    assert kept(folder) == {digest(0), digest(2), digest(7)}


def test_who_reads_a_shard_that_has_to_go_reads_on(place: Store, folder: Path, monkeypatch) -> None:
    monkeypatch.setenv(LIMIT, "1000")
    with opened(place, "0.tar", 1000, digest(0)) as stream:
        take(place, 1)
        assert kept(folder) == {digest(1)}
        assert stream.read() == content(0)


@pytest.mark.parametrize(("limit", "said"), [("999", "a shard takes 0 MB, and "), ("50GB", "give it in bytes")])
def test_a_limit_that_doesn_t_serve_is_said(place: Store, monkeypatch, limit: str, said: str) -> None:
    monkeypatch.setenv(LIMIT, limit)
    with pytest.raises(UserError, match=said):
        take(place, 0)


def test_a_shard_that_isn_t_what_the_manifest_says_is_refused_and_not_kept(place: Store, folder: Path) -> None:
    place.write("4.tar", content(5))
    with pytest.raises(UserError, match=r"pack/4.tar isn't what its manifest says \(sha256\)"):
        take(place, 4)
    assert kept(folder) == set()
    assert [file.name for file in folder.iterdir() if "lock" not in file.name] == []


def test_a_transfer_that_was_cut_is_tried_again(place: Store, monkeypatch) -> None:
    fetch, tries = Store.fetch, []

    def cut(self: Store, name: str, file: Path) -> None:
        fetch(self, name, file)
        tries.append(name)
        if len(tries) == 1:
            file.write_bytes(file.read_bytes()[:-1])

    monkeypatch.setattr(Store, "fetch", cut)
    assert take(place, 6) == content(6)
    assert len(tries) == 2


def test_half_a_copy_that_a_killed_process_left_is_fetched_anew(place: Store, folder: Path) -> None:
    take(place, 2)
    (folder / digest(2)).write_bytes(b"half")
    assert take(place, 2) == content(2)


def test_what_is_not_there_is_named(place: Store) -> None:
    with pytest.raises(Missing, match=r"pack/none.tar is missing"):
        opened(place, "none.tar", 1, "0" * 64)
