"""Bytes at an address: what every place does, be it a folder, an object store or a web server.

The places are the only code that touches the bytes of packs. Where a store is reached, and who we are, is told by the
environment's usual names (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS …), never by an address.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from capetune.errors import UserError

CHUNK = 2**20  # bytes


class Missing(UserError):
    """Nothing is kept under that name."""


class Place(Protocol):
    """A folder at an address. Names are relative, parts joined by `/`. Every method raises UserError in one line where
    the place can't be reached or refuses us, Missing where there is nothing of that name."""

    @property
    def address(self) -> str:
        """As it was given."""
        ...

    @property
    def resolved(self) -> str:
        """The address by which any process of this machine, and of others that reach it, finds it."""
        ...

    def below(self, name: str) -> Place:
        """The folder of that name in it."""
        ...

    def read(self, name: str) -> bytes: ...

    def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """ranges: (first byte, length) each. Shorter where the file ends before."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Whole: who reads meanwhile sees what was there before, or all of this."""
        ...

    def create(self, name: str, content: bytes) -> bool:
        """The same, but False where the name is taken: of several who try, with contents that differ, only one gets
        True."""
        ...

    def fetch(self, name: str, file: Path) -> None:
        """Copy it into a file of this machine, a piece at a time. The file is there afterwards, or not at all."""
        ...

    def send(self, file: Path, name: str) -> None:
        """The other way round; whole, like `write`."""
        ...

    def size(self, name: str) -> int:
        """In bytes."""
        ...

    def age(self, name: str) -> float | None:
        """Seconds since it was written, by the place's own clock: those of two machines may differ. None where a place
        that we may not write to can't tell."""
        ...

    def names(self) -> Iterator[str]:
        """Of all files below it, in order, but those that begin with a dot: they are somebody's at work."""
        ...

    def delete(self, name: str) -> None:
        """Nothing happens where there is none."""
        ...
