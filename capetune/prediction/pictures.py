"""Pictures of one's own: which there are, and their pixels."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from capetune.datasets.mp100.pictures import EXIF_ORIENTATION, SIDEWAYS, Unusable, read_image
from capetune.errors import UserError


@dataclass(frozen=True)
class Picture:
    """name: its path as asked for; below a folder that was asked for, from there."""

    name: str
    file: Path


def find_pictures(asked: Iterable[Path]) -> list[Picture]:
    """The files as they are named, and of a folder, and of those in it, all that are called like a picture, by name.

    Raises UserError where there is none, not one of the files is there, or two have one name.
    """
    suffixes = Image.registered_extensions()
    found: list[Picture] = []
    for path in asked:
        if not path.is_dir():
            found.append(Picture(path.as_posix(), path))
            continue
        files = [Path(place) / name for place, _, names in os.walk(path) for name in names]
        inside = sorted(file.relative_to(path).as_posix() for file in files if file.suffix.lower() in suffixes)
        if not inside:
            raise UserError(f"{path} holds no picture, such as a .jpg or a .png; give another folder, or files")
        found += [Picture(name, path / name) for name in inside]
    if not found:
        raise UserError("no picture is named; give files or a folder")
    names = [picture.name for picture in found]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise UserError(f"{twice} is there twice; give each picture once, and one folder at a time")
    if not any(os.path.lexists(picture.file) for picture in found):
        raise UserError(f"no such picture: {found[0].name}; give files or a folder that exist")
    return found


def read_picture(file: Path | BinaryIO) -> np.ndarray:
    """uint8 (H, W, 3) RGB of a file or of its bytes, the right way up by its EXIF tag, decoded as pictures are for a
    pack. Raises `Unusable`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of odd EXIF
        try:
            with Image.open(file) as image:
                turned = image.getexif().get(EXIF_ORIENTATION, 1) in SIDEWAYS
                size = image.size[::-1] if turned else image.size
        except FileNotFoundError:
            raise Unusable("there is no such file") from None
        except Image.DecompressionBombError:
            raise Unusable("image too large") from None
        except Exception as error:  # Pillow raises anything from SyntaxError to struct.error on broken files
            raise Unusable("image unreadable", getattr(error, "strerror", None) or "") from None
        return read_image(file, size)[0]
