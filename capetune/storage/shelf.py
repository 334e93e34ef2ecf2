"""What a machine keeps of packs that lie elsewhere: whole shards, of which the least recently used go first.

They lie in the cache folder by their content's sha256, for all packs and all processes of the machine.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from capetune.errors import UserError
from capetune.storage.cache import writable_cache
from capetune.storage.folder import Folder
from capetune.storage.place import Place

SHARDS = "shards"
LIMIT = "CAPETUNE_CACHE_BYTES"
SHARE = 0.8  # of what the disk has for it, where the environment gives no limit
LOCKS = 256
TRIES = 2  # of a transfer that doesn't arrive as it was sent


class Spoilt(UserError):
    """What a place holds isn't what it is said to be."""


def opened(place: Place, name: str, size: int, sha256: str) -> BinaryIO:
    """A file of this machine with the content of `name`: itself in a folder, else the copy that the machine keeps.

    size: in bytes. Raises UserError where it can't be had, Spoilt where it isn't what `sha256` says.
    """
    if isinstance(place, Folder):
        return place.open(name)
    folder = writable_cache() / SHARDS
    folder.mkdir(exist_ok=True)
    file = folder / sha256
    with _alone(folder, sha256):  # another process may be fetching it
        if not file.is_file() or file.stat().st_size != size:
            _make_room(folder, size)
            _fetch(place, name, file, sha256)
        os.utime(file)
        return file.open("rb")


def _fetch(place: Place, name: str, file: Path, sha256: str) -> None:
    aside = file.with_name(f".{sha256}")
    try:
        for _ in range(TRIES):
            place.fetch(name, aside)
            with aside.open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() == sha256:
                    os.replace(aside, file)
                    return
    finally:
        aside.unlink(missing_ok=True)
    raise Spoilt(f"{place.address}/{name} isn't what its manifest says (sha256): copy the pack again or make it anew")


def _make_room(folder: Path, size: int) -> None:
    """Remove the least recently used. Who reads one of them reads on: its bytes go when it is closed."""
    kept = sorted((file for file in folder.iterdir() if not file.name.startswith(".")), key=lambda f: f.stat().st_mtime)
    held = {file: file.stat().st_size for file in kept}
    limit = _limit(folder, sum(held.values()))
    if size > limit:
        raise UserError(f"a shard takes {size / 1e6:.0f} MB, and {folder} may hold {limit / 1e6:.0f} MB: see {LIMIT}")
    while kept and sum(held.values()) + size > limit:
        oldest = kept.pop(0)
        oldest.unlink(missing_ok=True)
        del held[oldest]


def _limit(folder: Path, held: int) -> int:
    given = os.environ.get(LIMIT)
    if given is None:
        return int(SHARE * (held + shutil.disk_usage(folder).free))
    if not given.isdecimal():
        raise UserError(f"{LIMIT} is {given!r}: give it in bytes, such as 200000000000")
    return int(given)


@contextmanager
def _alone(folder: Path, sha256: str) -> Iterator[None]:
    with (folder / f".lock-{int(sha256[:8], 16) % LOCKS}").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
