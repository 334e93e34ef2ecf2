"""Where the pictures lie that a label file names by paths of another machine."""

from __future__ import annotations

import os
import warnings
from functools import cached_property
from pathlib import Path, PurePosixPath

from PIL import Image

from capetune.datasets.mp100.category import leaves
from capetune.datasets.mp100.pictures import EXIF_ORIENTATION, SIDEWAYS


class Pictures:
    """The folder that the pictures' names are to start from. It is looked through only for what isn't where its name
    says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def name(self, wanted: str) -> str:
        """The path below the folder of the file that is meant: where the name says, else the one file of that name, of
        several the one with the most equal folders above it. The name itself, with slashes, where that isn't one."""
        plain = wanted.replace("\\", "/").lstrip("/")
        if self.has(plain):
            return str(PurePosixPath(plain))
        parts = PurePosixPath(plain).parts
        alike = self._by_name.get(parts[-1], []) if parts else []
        shared = {name: _shared(PurePosixPath(name).parts, parts) for name in alike}
        best = [name for name in alike if shared[name] == max(shared.values())]
        return best[0] if len(best) == 1 else plain

    def of(self, file: Path) -> str:
        """The name of a file that may lie in the folder; links aren't followed."""
        place, root = Path(os.path.abspath(file)), Path(os.path.abspath(self.folder))
        return self.name((place.relative_to(root) if place.is_relative_to(root) else file).as_posix())

    def has(self, name: str) -> bool:
        """Whether there is such a file in the folder."""
        try:
            return bool(name) and not leaves(name) and (self.folder / name).is_file()
        except (OSError, ValueError):  # longer than a name may be, a zero byte
            return False

    def size(self, name: str) -> tuple[int, int] | None:
        """(width, height) as displayed, after its EXIF turn; None where it isn't there or no picture."""
        if not self.has(name):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's
            try:
                with Image.open(self.folder / name) as image:
                    turned = image.getexif().get(EXIF_ORIENTATION, 1) in SIDEWAYS
                    return image.size[::-1] if turned else image.size
            except Exception:  # Pillow raises anything from SyntaxError to struct.error on broken files
                return None

    @property
    def listed(self) -> list[str]:
        """All files below the folder that are called like a picture."""
        suffixes = Image.registered_extensions()
        names = [name for group in self._by_name.values() for name in group]
        return sorted(name for name in names if PurePosixPath(name).suffix.lower() in suffixes)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for place, folders, names in os.walk(self.folder):
            folders.sort()
            for name in sorted(names):
                found.setdefault(name, []).append((Path(place) / name).relative_to(self.folder).as_posix())
        return found


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many of the last parts are equal."""
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        count += 1
    return count
