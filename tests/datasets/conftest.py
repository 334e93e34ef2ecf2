"""Small annotation files in MP-100's format, and the real ones where this checkout has them beside it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

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
