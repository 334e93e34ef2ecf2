"""Which picture of a source is meant, told by the source's own labels where a file's name can't tell, or tells wrongly.

MP-100 calls CarFusion's pictures by ids that the source's COCO file only has where it was made on the same machine, and
DeepPoseKit's frames, which lie inside an .h5, by a number in a shuffled order. The annotated box and keypoints are the
source's own in both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from capetune.datasets.mp100.instance import clip_box
from capetune.datasets.mp100.pictures import Picture
from capetune.datasets.mp100.trees import Trees, ending
from capetune.pose import Instance

CLOSE = 0.01  # pixels, between a label and the annotation made of it
THUMB = 4  # a frame is compared this many times smaller: a jpg's noise is gone then, a fly's leg isn't


@dataclass(frozen=True)
class Row:
    """A frame inside an .h5."""

    file: Path
    number: int

    def __str__(self) -> str:
        return f"{self.file}, frame {self.number}"

    def encoded(self, name: str) -> bytes:
        """It as the picture file `name` is, a jpg of OpenCV's quality, as the official preparation writes it."""
        import h5py

        with h5py.File(self.file) as tree:
            pixels = np.asarray(tree["images"][self.number])
        return cv2.imencode(Path(name).suffix, pixels)[1].tobytes()


class CocoLabels:
    """COCO files that carfusion_to_coco made."""

    def __init__(self, files: Iterable[Path], trees: Trees) -> None:
        self.trees = trees
        self.unread: list[str] = []
        self._boxes: dict[tuple[float, ...], list[tuple[str, set[tuple[float, float]]]]] = {}
        for file in files:
            try:
                tree = json.loads(file.read_bytes())
                images = {image["id"]: image for image in tree["images"]}
                for label in tree["annotations"]:
                    self._add(label, images[label["image_id"]])
            except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
                self.unread.append(f"{file} is not read: no COCO file ({type(error).__name__}: {error})")

    def _add(self, label: dict[str, Any], image: dict[str, Any]) -> None:
        box = clip_box(label["bbox"], image["width"], image["height"])
        points = {(float(x), float(y)) for x, y, v in zip(*[iter(label["keypoints"])] * 3, strict=True) if v > 0}
        self._boxes.setdefault(tuple(map(float, box)), []).append((image["file_name"], points))

    def meant(self, picture: Picture) -> list[Path]:
        """The files that all annotations of the picture may have been made of."""
        names = set.intersection(*(self._names(instance) for instance in picture.instances))
        return sorted({file.path for name in names for file in ending(self.trees.named(name), name)})

    def _names(self, instance: Instance) -> set[str]:
        points = {(float(x), float(y)) for x, y in instance.xy[instance.visible]}
        alike = self._boxes.get(tuple(map(float, instance.box)), [])
        return {name for name, labelled in alike if points <= labelled}


class FrameLabels:
    """The .h5 files of DeepPoseKit: frames (N, H, W, 1 or 3), annotations (N, K, 2), annotated (N, K)."""

    def __init__(self, files: Iterable[Path]) -> None:
        self.unread: list[str] = []
        self._files: list[_Frames] = []
        for file in files:
            try:
                self._files.append(_Frames(file))
            except (OSError, KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
                self.unread.append(f"{file} is not read: no .h5 of DeepPoseKit ({error})")

    def meant(self, picture: Picture) -> list[Row]:
        """The frames that all annotations of the picture may have been made of."""
        rows = (frames.rows(picture) for frames in self._files if frames.size == picture.size)
        return [row for found in rows for row in found]

    def same(self, row: Row, pixels: np.ndarray) -> bool:
        """Whether of all frames of the file that one is the nearest to a picture, uint8 (H, W, 3)."""
        [frames] = [frames for frames in self._files if frames.path == row.file]
        return frames.nearest(pixels) == row.number


class _Frames:
    """size: (width, height)."""

    def __init__(self, path: Path) -> None:
        import h5py

        self.path = path
        with h5py.File(path) as tree:
            self.labels = np.asarray(tree["annotations"], dtype=np.float64)
            self.labelled = np.asarray(tree["annotated"]).astype(bool)
            count, height, width = tree["images"].shape[:3]
            if self.labels.shape != (count, self.labels.shape[1], 2) or self.labelled.shape != self.labels.shape[:2]:
                raise ValueError("images and annotations don't belong together")
        self.size = (width, height)

    def rows(self, picture: Picture) -> list[Row]:
        fits = np.ones(len(self.labels), dtype=bool)
        for instance in picture.instances:
            if len(instance.visible) != self.labels.shape[1]:
                return []
            off = np.abs(self.labels[:, instance.visible] - instance.xy[instance.visible]).max(axis=(1, 2), initial=0)
            fits &= (off < CLOSE) & self.labelled[:, instance.visible].all(axis=1)
        return [Row(self.path, int(number)) for number in np.flatnonzero(fits)]

    def nearest(self, pixels: np.ndarray) -> int:
        return int(np.abs(self._thumbs - _thumb(pixels)).mean(axis=(1, 2)).argmin())

    @cached_property
    def _thumbs(self) -> np.ndarray:
        """float32 (N, h, w), grey."""
        import h5py

        with h5py.File(self.path) as tree:
            return np.stack([_thumb(np.asarray(frame)) for frame in tree["images"]])


def _thumb(pixels: np.ndarray) -> np.ndarray:
    """uint8 (H, W), (H, W, 1) or (H, W, 3) → float32, grey, `THUMB` times smaller."""
    grey = pixels.astype(np.float32) if pixels.ndim == 2 else pixels.mean(axis=2, dtype=np.float32)
    size = (max(1, grey.shape[1] // THUMB), max(1, grey.shape[0] // THUMB))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
