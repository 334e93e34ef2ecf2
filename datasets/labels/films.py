"""Frames out of a video file."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import cv2
import numpy as np

from capetune.errors import UserError


def filmed(path: Path, frames: Collection[int], cure: str) -> Iterator[tuple[int, np.ndarray]]:
    """Those of the frames, at least one, that the video has: their numbers from 0 and pixels, uint8 BGR. It is read
    from the first frame on, since seeking in a video is exact in few formats. Raises UserError, with the cure, where it
    can't be read."""
    film = cv2.VideoCapture(str(path))
    try:
        if not film.isOpened():
            raise UserError(f"{path} can't be read as a video; {cure}")
        for index in range(max(frames) + 1):
            if not film.grab():
                return
            if index in frames:
                read, image = film.retrieve()
                if read:
                    yield index, image
    finally:
        film.release()
