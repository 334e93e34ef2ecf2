"""From the name an annotation gives to the pixels: which picture is meant, whether it can be used, which way up it is.

`check` and `pack` decide it here, both, so that they can't disagree.
"""

from __future__ import annotations

import os
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from capetune.datasets.mp100.catalogue import MP100, TRAPS
from capetune.datasets.mp100.category import leaves
from capetune.datasets.mp100.findings import Finding, counted
from capetune.errors import UserError
from capetune.pose import Instance

MISSING = "image missing"
MISSPELT = "image under another name"
OUTSIDE = "path leaves the images folder"
UNREADABLE = "image unreadable"
TOO_LARGE = "image too large"
WRONG_SIZE = "image size differs from the annotation's"
NO_COLOURS = "image of pixels that have no 8-bit colours"

TURNED = "turned by its EXIF tag; the size can't tell which way it was annotated"
DEEP = "16-bit picture: taken by the upper 8 bits"
STRANGERS = "file names don't fit"

EXIF_ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange width and height
MANY = 8  # files of one name, from which none is picked out
PLAIN = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV"}  # Pillow's modes


class Unusable(Exception):
    """An image has to be left out. reason: one of the first seven above; detail: what more there is to say."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, eq=False)
class Picture:
    """An image as annotated, (width, height) `size`, and the instances on it. A file that is annotated with two sizes
    is two pictures, of which one can't be used."""

    name: str
    size: tuple[int, int]
    instances: tuple[Instance, ...]

    def findings(self, reason: str, detail: str = "") -> Iterator[Finding]:
        """One for each instance."""
        for instance in self.instances:
            yield Finding(instance.category_id, reason, instance.id, self.name, detail)


@dataclass(frozen=True, eq=False)
class Located:
    """found: pictures and their files. lost: of instances whose pictures aren't there. doubts: what may be meant."""

    found: list[tuple[Picture, Path]]
    lost: list[Finding]
    doubts: list[Finding]


def pictures(instances: Iterable[Instance]) -> list[Picture]:
    """In the order in which the instances name them first."""
    groups: dict[tuple[str, tuple[int, int]], list[Instance]] = {}
    for instance in instances:
        groups.setdefault((instance.file_name, instance.image_size), []).append(instance)
    return [Picture(name, size, tuple(group)) for (name, size), group in groups.items()]


def locate(annotated: list[Picture], images: Path) -> Located:
    """Look for the pictures in the images folder. Raises UserError where that is no folder."""
    if not images.is_dir():
        raise UserError(f"{images} is not a folder: give the one that holds the images")
    folder = _Folder(images, {picture.name for picture in annotated})
    found: list[tuple[Picture, Path]] = []
    lost: list[Finding] = []
    gone: list[Picture] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's
        for picture in annotated:
            try:
                found.append((picture, folder.path(picture.name, picture.size)))
            except Unusable as why:
                lost += picture.findings(why.reason, why.detail)
                if why.reason == MISSING:
                    gone.append(picture)
    there = {_top(picture.name) for picture, _ in found}
    empty: dict[tuple[int, str], None] = {(p.instances[0].category_id, _top(p.name)): None for p in gone}
    doubts = []
    for id, top in empty:
        if top not in there and (detail := folder.strangers(top)):
            trap = TRAPS.get(MP100[id].source, "") if id in MP100 and MP100[id].folder == top else ""
            doubts.append(Finding(id, STRANGERS, detail=detail + trap))
    return Located(found, lost, doubts)


def read_image(
    file: Path | BinaryIO, size: tuple[int, int], coarsest: float = 1.0
) -> tuple[np.ndarray, int, tuple[str, ...]]:
    """Decode an image that is annotated as (width, height) `size`.

    coarsest: it may be reduced by a power of two up to this. Returns uint8 (H, W, 3) RGB, the reduction, and what is
    doubtful: TURNED, DEEP. Reduced pixels go to source pixels by `packs.crop.enlarge(reduction, reduction)`. The EXIF
    orientation is obeyed as the official loader does, unless only the picture as stored has the annotated size; 16-bit
    grey is taken by its upper byte, as there. Raises Unusable. Pillow warns of odd EXIF and of large pictures.
    """
    try:
        with Image.open(file) as image:
            orientation = image.getexif().get(EXIF_ORIENTATION, 1)
            upright = image.size[::-1] if orientation in SIDEWAYS else image.size
            if size not in (upright, image.size):
                raise Unusable(WRONG_SIZE, f"{upright[0]}×{upright[1]}, annotated {size[0]}×{size[1]}")
            doubts = []
            if orientation in (2, 3, 4, *SIDEWAYS) and upright == image.size:
                doubts.append(TURNED)
            width = image.size[0]
            if coarsest >= 2 and image.format == "JPEG":
                times = int(coarsest)
                image.draft(None, (max(1, image.size[0] // times), max(1, image.size[1] // times)))
            reduction = round(width / image.size[0])
            pixels = ImageOps.exif_transpose(image) if upright == size else image
            if pixels.mode.startswith("I;16"):
                doubts.append(DEEP)
                pixels = Image.fromarray((np.asarray(pixels) >> 8).astype(np.uint8))
            elif pixels.mode not in PLAIN:
                raise Unusable(NO_COLOURS, f"mode {pixels.mode}")
            return np.asarray(pixels.convert("RGB")), reduction, tuple(doubts)
    except FileNotFoundError:
        raise Unusable(MISSING) from None
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise Unusable(TOO_LARGE, f"annotated {size[0]}×{size[1]}; more than {most} megapixels aren't read") from None
    except Unusable:
        raise
    except Exception as error:  # Pillow raises anything from SyntaxError to struct.error on broken files
        raise Unusable(UNREADABLE, getattr(error, "strerror", None) or "") from None


class _Folder:
    """The images folder, looked through only when something isn't where its name says."""

    def __init__(self, folder: Path, wanted: set[str]) -> None:
        self.folder, self.wanted = folder, wanted

    def path(self, name: str, size: tuple[int, int]) -> Path:
        """Raises Unusable: OUTSIDE, MISSPELT with the name it has, MISSING, UNREADABLE."""
        if leaves(name):
            raise Unusable(OUTSIDE)
        try:
            if (self.folder / name).is_file():
                return self.folder / name
        except OSError as error:  # a name that is too long, a folder that may not be entered
            raise Unusable(UNREADABLE, error.strerror or "") from None
        near = self._near(name, size)
        raise Unusable(MISSPELT, f"{near} is there") if near else Unusable(MISSING)

    def strangers(self, top: str) -> str:
        """How many pictures below a folder no annotation names, with one for an example; "" if there are none."""
        suffixes = Image.registered_extensions()
        names = [n for n in self._names if _top(n) == top and n not in self.wanted and _suffix(n) in suffixes]
        if not names:
            return ""
        place, count = top or "the images folder", counted(len(names), "picture")
        return f"{place} holds {count} that no annotation names, {names[0]} for one"

    def _near(self, name: str, size: tuple[int, int]) -> str | None:
        """The one file that is meant: the same path in another spelling, else a picture of the same file name and size
        in another folder that no annotation names; None where that isn't one file."""
        path = folded(name)
        alike = self._by_name.get(path[-1], [])
        same = [other for other in alike if folded(other) == path]
        strange = [other for other in alike if other not in self.wanted]
        if not same and len(strange) <= MANY:
            same = [other for other in strange if has_size(self.folder / other, size)]
        return same[0] if len(same) == 1 else None

    @cached_property
    def _names(self) -> list[str]:
        """Of all files in it, sorted; a link to a folder is followed, but not in circles."""
        names: list[str] = []
        for place, folders, files in os.walk(self.folder, followlinks=True):
            if os.path.realpath(place) in map(os.path.realpath, Path(place).parents):
                folders.clear()
            else:
                names += [(Path(place) / file).relative_to(self.folder).as_posix() for file in files]
        return sorted(names)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self._names:
            found.setdefault(folded(name)[-1], []).append(name)
        return found


def has_size(file: Path, size: tuple[int, int]) -> bool:
    try:
        with Image.open(file) as image:
            return size in (image.size, image.size[::-1])
    except Exception:  # as in read_image
        return False


def folded(name: str) -> list[str]:
    """The parts of a path, alike for all its spellings: case, composed or decomposed accents, backslashes."""
    slashed = unicodedata.normalize("NFC", name).casefold().replace("\\", "/")
    return [*PurePosixPath(slashed).parts] or [""]


def _top(name: str) -> str:
    """The folder right below the images folder that it lies in, "" for none."""
    first, *rest = PurePosixPath(name).parts or ("",)
    return first if rest else ""


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()
