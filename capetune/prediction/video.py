"""The frames of a video, one after the other."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

SUFFIXES = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"}
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what is wrong we say; it is read at the first video


def is_video(file: Path) -> bool:
    """By its name."""
    return file.suffix.lower() in SUFFIXES


def count_frames(file: Path) -> int:
    """How many can be read, from the first on; 0 of what is no video. All of it is read: heads are often wrong."""
    with _opened(file) as video:
        count = 0
        while video.grab():
            count += 1
        return count


def promised(file: Path) -> int:
    """How many its head says; 0 where that says nothing."""
    with _opened(file) as video:
        return max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))


def frames(file: Path) -> Generator[np.ndarray]:
    """uint8 (H, W, 3) RGB each, the right way up, up to the first that can't be read."""
    with _opened(file) as video:
        while (got := video.read())[0]:
            yield cv2.cvtColor(got[1], cv2.COLOR_BGR2RGB)


@contextmanager
def _opened(file: Path) -> Iterator[cv2.VideoCapture]:
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    video = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG)
    try:
        yield video
    finally:
        video.release()
        cv2.utils.logging.setLogLevel(level)
