"""A folder that one process at a time works in."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from capetune.errors import UserError

LOCK = ".lock"


@contextmanager
def held(folder: Path, wait: bool = False) -> Iterator[None]:
    """Keep other processes from working in a folder; the hold ends with the process, however it ends. A folder that is
    empty then is removed.

    Raises UserError where another one works in it, unless it is to wait.
    """
    alone = not folder.parent.exists()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise UserError(f"another capetune works on {folder} now; wait for it, or give another --name") from None
        try:
            yield
        finally:
            if [path.name for path in folder.iterdir()] == [LOCK]:  # it came to nothing
                shutil.rmtree(folder)
                if alone:
                    folder.parent.rmdir()


def is_held(folder: Path) -> bool:
    """Whether a process works in the folder now."""
    try:
        with (folder / LOCK).open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
