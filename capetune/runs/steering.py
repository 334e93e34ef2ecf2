"""What is asked of a search while it runs: a file a request in its folder, from whoever may write there.

Files are numbered, made whole and only where none is yet, so of two commands at once each has its own number. They
stay: what a search was asked for is read anew by whoever goes on with it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from capetune.storage.address import open_place
from capetune.storage.place import Missing, Place
from capetune.storage.scratch import address_of

FOLDER = "steer"  # of a search


@dataclass(frozen=True)
class Steer:
    """points: values of all keys of the space, each to be tried next. stop: trials to be ended. trials: how many there
    are to be in all, None: as before. token: of this request alone."""

    points: tuple[dict[str, Any], ...] = ()
    stop: tuple[int, ...] = ()
    trials: int | None = None
    token: str = ""


class _Tree(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    points: list[dict[str, Any]]
    stop: list[int]
    trials: int | None
    token: str


_TREE = TypeAdapter(_Tree)


@dataclass
class Requests:
    """Those of one search, in the order of their numbers. place: where they lie. read: numbers of those that were."""

    place: Place
    read: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, run: Path) -> Requests:
        """run: a search's folder, or the copy of one at an address."""
        return cls(open_place(address_of(run) or run).below(FOLDER))

    def add(self, steer: Steer, after: int = 0) -> int:
        """Returns its number. after: that of the latest that was taken, whose file may be gone. Raises UserError where
        it can't be written."""
        content = json.dumps(vars(steer)).encode()
        number = max([after, *self._numbers()]) + 1
        while not self.place.create(_name(number), content):
            number += 1
        return number

    def withdraw(self, number: int) -> None:
        self.place.delete(_name(number))

    def news(self) -> list[tuple[int, Steer | None]]:
        """Those that weren't read before, None for one that is odd. Raises UserError where the place is away."""
        found: list[tuple[int, Steer | None]] = []
        for number in sorted(set(self._numbers()) - self.read):
            try:
                found.append((number, _parsed(self.place.read(_name(number)))))
            except Missing:  # withdrawn since
                continue
        self.read |= {number for number, _ in found}
        return found

    def _numbers(self) -> list[int]:
        stems = [Path(name).stem for name in self.place.names()]
        return [int(stem) for stem in stems if stem.isascii() and stem.isdigit()]


def _name(number: int) -> str:
    return f"{number:06d}.json"


def _parsed(content: bytes) -> Steer | None:
    try:
        tree = _TREE.validate_json(content, strict=True)
    except (ValidationError, RecursionError):
        return None
    return Steer(tuple(tree["points"]), tuple(tree["stop"]), tree["trials"], tree["token"])
