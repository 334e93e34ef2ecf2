"""Pictures of one's own: which there are, and their pixels."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from capetune.datasets.mp100.pictures import EXIF_ORIENTATION, SIDEWAYS, Unusable, read_image
from capetune.errors import UserError
from capetune.prediction.video import count_frames, frames, is_video


@dataclass(frozen=True)
class Picture:
    """name: its path as asked for; below a folder that was asked for, from there; of a video's frame the video's, and
    #1, #2, … frame: its number there, from 0; None: the file is a picture."""

    name: str
    file: Path
    frame: int | None = None


def find_pictures(asked: Iterable[Path]) -> list[Picture]:
    """The files as they are named, of a video its frames, and of a folder, and of those in it, all that are called like
    a picture, by name.

    Raises UserError where there is none, not one of the files is there, two have one name, or a video has no frame that
    can be read.
    """
    suffixes = Image.registered_extensions()
    found: list[Picture] = []
    for path in asked:
        if path.is_file() and is_video(path):
            count = count_frames(path)
            if not count:
                raise UserError(f"{path} is no video that can be read; give another, or pictures")
            found += [Picture(f"{path.as_posix()}#{frame + 1}", path, frame) for frame in range(count)]
            continue
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


def opened(pictures: Iterable[Picture]) -> Iterator[tuple[Picture, np.ndarray | None]]:
    """Each picture, and the pixels of those that are a video's frames, uint8 (H, W, 3) RGB: these are read one after
    the other, as they are asked for. A video's frames stand together, in their order."""
    for file, group in groupby(pictures, key=lambda picture: None if picture.frame is None else picture.file):
        if file is None:
            yield from ((picture, None) for picture in group)
            continue
        wanted = list(group)
        there = {picture.frame: picture for picture in wanted}
        with closing(frames(file)) as read:
            for number, pixels in enumerate(read):
                if number in there:
                    yield there.pop(number), pixels
                if not there:
                    break
        if there:
            raise UserError(f"{file} has changed while it was read; the same command again")


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
