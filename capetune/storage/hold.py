"""A folder that one process of a machine at a time works in."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".lock"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Wait until no other process works in a folder, and keep others waiting; the hold ends with the process, however
    it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def free(folder: Path) -> bool:
    """Whether no process works in a folder now."""
    if not (folder / LOCK).is_file():
        return True
    with (folder / LOCK).open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
