"""Folders of this process for copies of what lies at an address.

The address is part of such a folder's path, so whoever has the path knows what it is a copy of, and people are shown
the address.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from urllib.parse import quote, unquote

from capetune.errors import UserError
from capetune.storage.cache import cache_folder, writable_cache
from capetune.storage.whole import sweep

COPIES = "copies"
LONGEST = 250  # signs of a folder's name
_count = itertools.count()


@contextmanager
def scratch(address: str) -> Iterator[Path]:
    """An empty folder for a copy of what lies at `address`, removed at the end; what processes of this machine that
    were killed have left of theirs goes too. Raises UserError where it can't be made."""
    name = quote(address.rstrip("/"), safe="")
    if len(name) > LONGEST:
        raise UserError(f"{address} is too long an address: a copy of what lies there can't be named")
    root = writable_cache().resolve() / COPIES
    mark = f"{socket.gethostname()}-"
    sweep(root, mark)
    own = root / f"{mark}{os.getpid()}" / str(next(_count))
    try:
        (own / name).mkdir(parents=True)
    except OSError as error:
        raise UserError(f"can't make {own} ({error.strerror}): set CAPETUNE_CACHE to a folder with room") from None
    try:
        yield own / name
    finally:
        shutil.rmtree(own, ignore_errors=True)
        with contextlib.suppress(OSError):  # another copy of this process, or of another process, is in use
            own.parent.rmdir()


def plain_name(path: Path) -> str:
    """A folder's name, or that of what it is a copy of."""
    return PurePath(address_of(path) or path).name


def address_of(path: Path) -> str | None:
    """What a path below a `scratch` folder is a copy of; None of any other."""
    shown = named(str(path))
    return None if shown == str(path) else shown


def named(text: str) -> str:
    """With the addresses in place of the paths of their copies."""
    root = re.escape(str(cache_folder().resolve() / COPIES))
    return re.sub(rf"{root}/[^/\s]+/\d+/([\w.%~-]+)", lambda found: unquote(found[1]), text)
