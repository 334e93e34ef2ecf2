"""Folders and files that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from capetune.errors import UserError


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """A new folder beside `out` to fill. It becomes `out`, which may be there if it is empty, when the block ends well,
    and is removed when it doesn't; what processes of this machine that were killed have left of it is removed too.

    Raises UserError where it can't be written.
    """
    mark = f"{out.name}.partial-{socket.gethostname()}-"
    sweep(out.parent, mark)
    aside = out.with_name(f"{mark}{os.getpid()}")
    try:
        aside.mkdir(parents=True)
        yield aside
        if out.exists():
            out.rmdir()
        aside.rename(out)
    except OSError as error:
        raise UserError(f"can't write {out}: {error.strerror or error}; free it or choose another folder") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def sweep(folder: Path, mark: str) -> None:
    """Remove what processes of this machine that are gone have left in a folder: what is named `mark` and their pid."""
    for left in folder.iterdir() if folder.is_dir() else ():
        owner = left.name.removeprefix(mark)
        if left.name.startswith(mark) and owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(left, ignore_errors=True)


def write_aside(file: Path, content: str | bytes) -> None:
    """Write a file so that it is either the old one or the new one, never half of it."""
    pour([content.encode() if isinstance(content, str) else content], file)


def pour(pieces: Iterable[Any], file: Path) -> None:
    """The same with what comes as pieces of bytes. Nothing is left of a file that wasn't finished."""
    aside = file.with_name(f".{file.name}.{os.urandom(6).hex()}")
    try:
        with aside.open("wb") as stream:
            for piece in pieces:
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())  # else a power failure could leave the new name with nothing in it
        os.replace(aside, file)
    finally:
        aside.unlink(missing_ok=True)
