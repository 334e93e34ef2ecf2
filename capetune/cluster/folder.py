"""A temporary folder of a session's own, for Ray and all its processes: gone when the session has ended."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from capetune.errors import UserError

PREFIX = "capetune-"
# What Ray and Python's tempfile put behind the folder they are given; a process's number has seven digits at most.
BEHIND = f"/{PREFIX}12345678/ray/session_2026-11-26_21-21-36_089396_4194304/sockets/plasma_store"
PATH = 107 if sys.platform == "linux" else 103  # bytes that a socket's path may have
LONGEST = PATH - len(BEHIND)


class Kept(UserError):
    """An error whose cause may stand in Ray's logs; its message says where they are."""


@contextmanager
def session_folder() -> Iterator[Path]:
    """A new folder that nobody else can read, its path short enough for Ray's sockets.

    It lies in RAY_TMPDIR, else TMPDIR, else in the first of /tmp, /var/tmp and XDG_RUNTIME_DIR that does. It is removed
    in the end, but after an error other than the user's it stays, Ray's logs in it: a note of the error says where.
    Raises UserError where there is no place for it.
    """
    folder = _make()
    try:
        yield folder
    except Exception as error:
        shutil.rmtree(scratch(folder), ignore_errors=True)
        if isinstance(error, Kept) or not isinstance(error, UserError):
            error.add_note(f"Ray's logs are kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def rays(folder: Path) -> Path:
    """Where Ray is to put its files: it opens the folder that it is given to everybody."""
    return folder / "ray"


def scratch(folder: Path) -> Path:
    """Where the session's processes are to put their own temporary files."""
    return folder / "tmp"


@contextmanager
def scratch_as_default(folder: Path) -> Iterator[None]:
    """Processes started meanwhile take the folder for their temporary files."""
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(scratch(folder))
    try:
        yield
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


def _make() -> Path:
    wanted = [
        os.environ.get("RAY_TMPDIR"),
        tempfile.gettempdir(),
        "/tmp",
        "/var/tmp",
        os.environ.get("XDG_RUNTIME_DIR"),
    ]
    why = ""
    for place in dict.fromkeys(os.path.abspath(place) for place in wanted if place):
        if len(os.fsencode(place)) > LONGEST:
            why = why or f"{place} is longer than the {LONGEST} bytes that Ray's sockets leave"
            continue
        try:
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
            scratch(folder).mkdir(mode=0o700)
        except OSError as error:
            why = why or f"can't write into {place} ({error.strerror or error})"
            continue
        return folder
    raise UserError(f"no place for Ray's sockets: {why}; set RAY_TMPDIR to a short folder that you can write into")
