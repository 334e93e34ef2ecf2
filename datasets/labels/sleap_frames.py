"""The pictures of a SLEAP project's labelled frames, out of whatever it calls a video."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import h5py
import numpy as np
from pydantic import BaseModel

from capetune.datasets.labels.films import filmed
from capetune.datasets.labels.pictures import Pictures
from capetune.errors import UserError

BGR_BEFORE = 1.4  # the format before which embedded pictures have their channels exchanged


class Backend(BaseModel):
    """filename: "." where the pictures lie in the .slp file itself, in the dataset `dataset`. filenames: where the
    frames are pictures."""

    filename: str = ""
    filenames: list[str] | None = None
    dataset: str | None = None
    input_format: str | None = None


class Video(BaseModel):
    backend: Backend
    filename: Any = None
    source_video: dict[str, Any] | None = None

    @property
    def path(self) -> str:
        named = self.backend.filename or (self.filename if isinstance(self.filename, str) else "")
        return named.replace("\\", "/")

    @property
    def group(self) -> int | None:
        """The number in the name of the group that holds its embedded pictures."""
        match = re.match(r"video(\d+)/", self.backend.dataset or "")
        return int(match[1]) if match and self.path == "." else None

    @property
    def stem(self) -> str:
        """What its frames' folder is called: as the video, or the folder of its pictures."""
        if self.path == ".":
            source = (self.source_video or {}).get("backend", {})
            named = str(source.get("filename") or f"video{self.group}").replace("\\", "/")
            listed = bool(source.get("filenames"))
        else:
            named, listed = self.path, bool(self.backend.filenames)
        path = PurePosixPath(named)
        return (path.parent.name if listed else path.stem) or "frames"


def extract(
    video: Video, h5: h5py.File, file: Path, frames: list[int], folder: Path, pictures: Pictures
) -> dict[int, Path]:
    """Write the pictures of those frames, sorted, into a folder; gives those that are there. h5: the opened `file`.

    Raises UserError where the video as a whole isn't there or can't be read.
    """
    folder.mkdir(parents=True)
    if video.backend.filenames:
        return _copied(video.backend.filenames, frames, folder, pictures)
    found = {}
    read = _embedded(video, h5, file, frames) if video.path == "." else _filmed(video, file, frames, pictures)
    for index, image in read:
        found[index] = folder / f"{index:06}.png"
        if not cv2.imwrite(str(found[index]), image):
            raise OSError(f"{found[index]} can't be written")
    return found


def table(group: h5py.Group, name: str, file: Path) -> np.ndarray:
    """The whole of a dataset. Raises UserError where its bytes can't be read, KeyError where there is none."""
    try:
        return group[name][:]
    except OSError as error:
        raise UserError(f"{file} is damaged at {name} ({error}); copy or save it again") from None


def _copied(names: list[str], frames: list[int], folder: Path, pictures: Pictures) -> dict[int, Path]:
    found = {}
    for index in frames:
        if index < len(names):
            here = Path(names[index])
            path = here if here.is_file() else pictures.folder / pictures.name(names[index])
            if path.is_file():
                found[index] = folder / f"{index:06}{path.suffix}"
                shutil.copyfile(path, found[index])
    return found


def _embedded(video: Video, h5: h5py.File, file: Path, frames: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Frames and their pixels, uint8 BGR or grey, as cv2 has them."""
    data = h5[str(video.backend.dataset)]
    numbers = table(data.parent, "frame_numbers", file) if "frame_numbers" in data.parent else np.arange(len(data))
    rows = {int(number): row for row, number in enumerate(numbers)}
    legacy = "BGR" if h5["metadata"].attrs["format_id"] < BGR_BEFORE else "RGB"
    order = data.attrs.get("channel_order", legacy)
    for index in frames:
        if index not in rows:
            continue
        if "format" not in data.attrs:
            raise UserError(f"{file}: {video.backend.dataset} holds bare pixels; save the package with SLEAP 1.3")
        try:
            encoded = np.asarray(data[rows[index]]).view(np.uint8)
        except OSError as error:
            raise UserError(f"{file} is damaged at frame {index} ({error}); copy or save it again") from None
        image = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
        if image is not None:
            yield index, image[..., ::-1] if order == "BGR" and image.ndim == 3 else image


def _filmed(video: Video, file: Path, frames: list[int], pictures: Pictures) -> Iterator[tuple[int, np.ndarray]]:
    """Frames out of the video file that its name means."""
    path = Path(video.path)
    if not path.is_file():
        path = pictures.folder / pictures.name(video.path)
    if not path.is_file():
        raise UserError(f"{file}: its video {video.path} isn't below {pictures.folder}; give --images, its folder")
    return filmed(path, set(frames), "save a package (.pkg.slp), which holds its frames")
