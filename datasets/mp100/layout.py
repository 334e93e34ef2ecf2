"""The official layout, images/<folder>/…, made of pictures that lie elsewhere."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from capetune.datasets.mp100.finder import Where
from capetune.datasets.mp100.labels import Row
from capetune.errors import UserError
from capetune.storage.whole import pour

PIECE = 2**20  # bytes


@dataclass
class Linked:
    """How the pictures came: by hard link, symbolic link, copy, or written out of an .h5; there: already was."""

    hard: int = 0
    symbolic: int = 0
    copied: int = 0
    written: int = 0
    there: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def left_to_link(where: Mapping[str, Where], out: Path) -> dict[str, Where]:
    """Of the pictures, by annotated name, those that aren't below `out` yet. Raises UserError, before anything is
    written, where a name is taken by another file, or leads out of `out` by a link."""
    left: dict[str, Where] = {}
    root = os.path.realpath(out)
    for name, place in where.items():
        target = out / name
        if os.path.lexists(target):
            if not _is(target, place):
                raise UserError(f"{target} is there and is not {place}: nothing was written; give an empty folder")
        elif os.path.commonpath([root, os.path.realpath(target.parent)]) != root:
            raise UserError(f"{target.parent} is a link out of {out}: nothing was written; give an empty folder")
        else:
            left[name] = place
    return left


def link(where: Mapping[str, Where], out: Path, progress: Callable[[int, int], None]) -> Linked:
    """Lay each picture below `out` under its annotated name. Never overwrites; killed, it goes on where it was.

    A hard link where `out` is on the picture's disk, else a symbolic link, else, where links can't be made, a copy.
    Raises UserError as `left_to_link` does, and where `out` can't be written.
    """
    left = left_to_link(where, out)
    linked = Linked(there=len(where) - len(left))
    try:
        for done, (name, place) in enumerate(left.items(), start=1):
            target = out / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(place, Row):
                pour([place.encoded(name)], target)
                linked.written += 1
            else:
                _lay(Path(os.path.realpath(place)), target, linked)
            progress(done, len(left))
    except OSError as error:
        raise UserError(
            f"can't write {target}: {error.strerror or error}; the same command goes on from here"
        ) from None
    return linked


def _lay(file: Path, target: Path, linked: Linked) -> None:
    try:
        os.link(file, target)
        linked.hard += 1
        return
    except FileExistsError:
        raise
    except OSError:  # another disk, or one without links
        pass
    try:
        os.symlink(file, target)
        linked.symbolic += 1
    except FileExistsError:
        raise
    except OSError:
        with file.open("rb") as stream:
            pour(iter(lambda: stream.read(PIECE), b""), target)
        linked.copied += 1


def _is(target: Path, place: Where) -> bool:
    if not target.is_file():
        return False
    if isinstance(place, Row):
        return target.read_bytes() == place.encoded(target.name)
    return os.path.samefile(target, place) or filecmp.cmp(target, place, shallow=False)
