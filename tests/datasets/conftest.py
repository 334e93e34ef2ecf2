"""Small annotation files in MP-100's format, and the real ones where this checkout has them beside it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from capetune.datasets.mp100.check import Checkup, check
from capetune.datasets.mp100.findings import said
from capetune.datasets.packs.reader import Pack, open_pack
from capetune.datasets.packs.writer import pack

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


@pytest.fixture
def real_annotations() -> Path:
    """Real annotation files: split 1 and 3, val and test."""
    return _there("mp100-annotations")


@pytest.fixture
def real_images() -> Path:
    """Real photographs in MP-100's layout: annotations/ and images/."""
    return _there("mp100-real-images")


def _there(name: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"no ../shared/data/{name} beside this checkout")
    return SHARED / name


@pytest.fixture
def mp100(tmp_path: Path) -> SimpleNamespace:
    """category(…), image(…), annotation(…) make entries with sound defaults; write(…) makes the file of them."""

    def category(id: int = 2, name: str = "horse_body", keypoints: Any = ("a", "b", "c"), **more: Any) -> dict:
        kept = list(keypoints) if isinstance(keypoints, tuple) else keypoints
        return {"id": id, "name": name, "supercategory": "", "keypoints": kept, "skeleton": [], **more}

    def image(id: int = 1, file_name: str = "horse_body/1.jpg", width: int = 100, height: int = 80) -> dict:
        return {"id": id, "file_name": file_name, "width": width, "height": height}

    def annotation(id: int = 11, image_id: int = 1, category_id: int = 2, **more: Any) -> dict:
        base = {"id": id, "image_id": image_id, "category_id": category_id, "iscrowd": 0}
        pose = {"bbox": [10, 20, 41, 31], "keypoints": [15, 25, 2, 20, 30, 1, 0, 0, 0], "num_keypoints": 2}
        return {**base, **pose, "area": 41 * 31, **more}

    def write(
        categories: list[dict] | None = None,
        images: list[dict] | None = None,
        annotations: list[dict] | None = None,
        name: str = "mp100_split1_test.json",
        info: Any = None,
    ) -> Path:
        document = {
            "info": info,
            "images": [image()] if images is None else images,
            "annotations": [annotation()] if annotations is None else annotations,
            "categories": [category()] if categories is None else categories,
        }
        text = json.dumps(document).encode()
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        return tmp_path / name

    return SimpleNamespace(category=category, image=image, annotation=annotation, write=write, folder=tmp_path)


class Gadgets:
    """A data set to spoil: one category of four keypoints, annotations 11, 12, 13 on the pictures 1, 2, 3, 96×64."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.categories: list[dict] = [
            {"id": 101, "name": "gadget", "keypoints": ["a", "b", "c", "d"], "skeleton": [[1, 2], [2, 3]]}
        ]
        self.images: list[dict] = [
            {"id": n, "file_name": f"gadget/{n}.png", "width": 96, "height": 64} for n in (1, 2, 3)
        ]
        self.annotations: list[dict] = [self._annotation(n) for n in (1, 2, 3)]
        for image in self.images:
            self.draw(image["file_name"])

    @staticmethod
    def _annotation(n: int) -> dict:
        keypoints = [20 + n, 13, 2, 63, 17, 2, 67, 45, 2, 27, 49, 2]
        more = {"bbox": [17, 7, 56, 48], "area": 56 * 48, "keypoints": keypoints, "num_keypoints": 4, "iscrowd": 0}
        return {"id": 10 + n, "image_id": n, "category_id": 101, **more}

    def change(self, n: int = 0, **fields: Any) -> None:
        """Fields of an annotation."""
        self.annotations[n].update(fields)

    def name(self, file_name: str, n: int = 0) -> None:
        """What the annotation file calls an image."""
        self.images[n]["file_name"] = file_name

    def draw(self, name: str, pixels: np.ndarray | None = None, orientation: int = 1, mode: str | None = None) -> Path:
        """A picture of uint8 grey from 0 to 252 unless given; orientation: the EXIF tag."""
        path = self.root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        made = np.add.outer(2 * np.arange(64), np.arange(96)).astype(np.uint8) if pixels is None else pixels
        picture, exif = Image.fromarray(made), Image.Exif()
        exif[0x0112] = orientation
        (picture.convert(mode) if mode else picture).save(path, exif=exif)
        return path

    def move(self, name: str) -> None:
        """The first picture's file."""
        path = self.root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (self.root / "images/gadget/1.png").rename(path)

    def write(self, name: str = "mp100_split1_test.json") -> Path:
        tree = {"images": self.images, "annotations": self.annotations, "categories": self.categories}
        path = self.root / "annotations" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(tree), encoding="utf-8")
        return path

    def check(self) -> Checkup:
        return check(self.root / "annotations", self.root / "images")

    def pack(self, **options: Any) -> Pack:
        pack(self.root / "annotations", self.root / "images", self.root / "out", **options)
        return self.opened()

    def opened(self) -> Pack:
        return open_pack(self.root / "out")

    def agreed(self) -> tuple[list[int], list[str], list[str]]:
        """Ids that are packed, what is said of the rest, what is said of what is kept: by check and pack alike."""
        self.write()
        checkup, doubts = self.check(), []
        packed = self.pack(tell=doubts.append)
        assert packed.manifest.left_out == checkup.left_out, "ids, files and details are written down"
        assert doubts == [*checkup.unread, *said({}, checkup.doubtful)]
        usable = {instance.file_name for instance in packed.instances}
        assert (checkup.images.found, packed.manifest.images) == (len(usable), len(usable))
        return sorted(instance.id for instance in packed.instances), said(checkup.left_out, {}), doubts


@pytest.fixture
def gadgets(tmp_path: Path) -> Gadgets:
    return Gadgets(tmp_path)
