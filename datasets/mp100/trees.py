"""All files below some folders, by their names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from PIL import Image

from capetune.datasets.mp100.pictures import folded

LABELS = {".h5", ".json"}


@dataclass(frozen=True)
class File:
    """path: absolute. source: the one whose folder it was found in, None for the images folder's."""

    path: Path
    source: str | None

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """Of its path, alike for all spellings."""
        return tuple(folded(str(self.path)))


class Trees:
    """The pictures and label files below folders, each real folder once, whatever links lead to it. unread: a line for
    each folder that can't be looked into."""

    def __init__(self, images: Path, sources: Mapping[str, Path]) -> None:
        self.unread: list[str] = []
        self._by_name: dict[str, list[File]] = {}
        seen: set[str] = set()
        suffixes = {*Image.registered_extensions(), *LABELS}
        roots: list[tuple[Path, str | None]] = [(path, name) for name, path in sources.items()]
        # A folder within another one is its own source's.
        roots.sort(key=lambda root: (-len(Path(os.path.realpath(root[0])).parts), str(root[1])))
        for root, source in (*roots, (images, None)):
            for place, folders, files in os.walk(root.absolute(), onerror=self._closed, followlinks=True):
                real = os.path.realpath(place)
                if real in seen:
                    folders.clear()
                    continue
                seen.add(real)
                folders.sort()
                for name in sorted(files):
                    if os.path.splitext(name)[1].lower() in suffixes:
                        self._by_name.setdefault(folded(name)[-1], []).append(File(Path(place) / name, source))

    def _closed(self, error: OSError) -> None:
        self.unread.append(f"{error.filename} can't be looked into: {error.strerror}")

    def named(self, name: str) -> list[File]:
        """Files of that name, whatever its spelling."""
        return self._by_name.get(folded(name)[-1], [])

    def like(self, pattern: str) -> list[File]:
        """Files whose names fit a pattern, sorted by path."""
        names = (name for name in self._by_name if fnmatchcase(name, pattern.casefold()))
        return sorted((file for name in names for file in self._by_name[name]), key=lambda file: file.path)


def ending(files: Iterable[File], name: str) -> list[File]:
    """Those whose paths end as `name` does."""
    parts = tuple(folded(name))
    return [file for file in files if file.parts[-len(parts) :] == parts]
