from __future__ import annotations

from pathlib import Path

import pytest

from capetune.errors import UserError
from capetune.storage.address import is_address, open_place
from capetune.storage.folder import Folder
from capetune.storage.store import Store


@pytest.mark.parametrize("text", ["runs", "/data/pack", "./s3", "s3:/bucket/x", "a b"])
def test_what_has_no_scheme_is_a_path(text: str) -> None:
    assert not is_address(text)
    assert open_place(text) == Folder(Path(text))


def test_a_file_s_url_is_its_path() -> None:
    assert open_place("file:///data/pack") == Folder(Path("/data/pack"))


def test_an_address_is_read_apart_and_together_again() -> None:
    place = open_place("s3://bucket/a/b/")
    assert place == Store("s3://bucket", "a/b")
    assert place.address == place.resolved == "s3://bucket/a/b"
    assert open_place("gs://bucket").address == "gs://bucket"


def test_a_folder_s_address_is_as_it_was_given_and_resolved_for_others(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_place("pack").address == "pack"
    assert open_place("pack").resolved == str(tmp_path.resolve() / "pack")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ftp://server/pack", "ftp://server/pack: addresses begin with s3, gs or http(s), paths with none of them"),
        ("s3:///pack", "s3:///pack names no bucket"),
        ("https:///pack", "https:///pack names no server"),
        ("file://server/pack", "file://server/pack: addresses begin with"),
    ],
)
def test_what_can_t_be_served_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        open_place(text)
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    "text", ["s3://me:wholly-secret@b/x", "https://h/x?token=wholly-secret", "s3://b/x#wholly-secret"]
)
def test_a_secret_in_an_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UserError, match="leave out what is more than the place") as error:
        open_place(text)
    assert "wholly-secret" not in str(error.value)
