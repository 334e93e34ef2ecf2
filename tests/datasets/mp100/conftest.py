"""MP-100's sources as they are unpacked, each with two pictures or more, and annotations of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from capetune.datasets.mp100.catalogue import MP100

FLY, LOCUST, CAR, BUS = 66, 44, 32, 38
# By category's folder: where its pictures lie in the download, and how MP-100 calls them.
LAYOUT = {
    "human_body": [("coco/train2017/000000010069.jpg", "000000010069.jpg")],
    "horse_body": [("ap-10k/data/000000026602.jpg", "000000026602.jpg")],
    "fox_body": [("ap-10k/data/000000017645.jpg", "000000017645.jpg")],
    "human_face": [
        ("300w/images/lfpw/trainset/image_0001.png", "lfpw/trainset/image_0001.png"),
        ("300w/images/helen/trainset/1175_1.jpg", "helen/trainset/1175_1.jpg"),
    ],
    "amur_tiger_body": [
        ("AFLW/aflw/data/flickr/0/image00002.jpg", "flickr/0/image00002.jpg"),
        ("AFLW/aflw/data/flickr/2/image00002.jpg", "flickr/2/image00002.jpg"),
    ],
    "human_hand": [("OneHand10K/Train/source/1.jpg", "1.jpg")],
    "sling": [("DeepFashion2/train/image/000012.jpg", "000012.jpg")],
    "vest_dress": [("DeepFashion2/train/image/000013.jpg", "000013.jpg")],
    "macaque_body": [("macaquepose_v1/images/022c71451277faa4.jpg", "022c71451277faa4.jpg")],
    "wren_body": [
        ("CUB_200_2011/images/193.Bewick_Wren/Bewick_Wren_0005_184699.jpg", "Bewick_Wren_0005_184699.jpg"),
        ("CUB_200_2011/images/199.Winter_Wren/Winter_Wren_0141_190152.jpg", "Winter_Wren_0141_190152.jpg"),
    ],
    "alpaca_face": [("animal_dataset_v1_clean_check/alpaca_1.jpg", "alpaca_1.jpg")],
    "bed": [("keypoint-5/bed/images/00000002.jpg", "00000002.jpg")],
    "sofa": [("keypoint-5/sofa/images/00000002.jpg", "00000002.jpg")],
}
CARS = [("car", "train/car_craig1/images_jpg/0_12000.jpg"), ("bus", "test/car_penn1/images_jpg/1_00031.jpg")]
FRAMES = {"fly_body": (FLY, 32, 6), "locust_body": (LOCUST, 35, 4)}  # id, K, frames


class Downloads:
    """root/downloads has the sources, root/annotations one file that names a picture of each kind."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder, self.annotations = root, root / "downloads", root / "annotations"
        self.rng = np.random.default_rng(0)
        self.ids = {entry.folder: entry for entry in MP100.values()}
        self.images: list[dict] = []
        self.labels: list[dict] = []
        self.sizes: dict[str, tuple[int, int]] = {}
        self.keypoints: dict[int, int] = {}
        for folder, entries in LAYOUT.items():
            for place, name in entries:
                self.draw(place)
                self.annotate(folder, name)
        self._cars()
        self._frames()
        self.write()

    def draw(self, place: str, size: tuple[int, int] = (64, 48)) -> Path:
        """A picture of its own below the downloads."""
        path = self.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = self.rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size).save(path)
        return path

    def annotate(
        self, folder: str, name: str, points: np.ndarray | None = None, size: tuple[int, int] = (64, 48)
    ) -> None:
        """points: (K, 2), drawn if not given."""
        entry = self.ids[folder]
        k = self.keypoints.setdefault(entry.id, 4 if points is None else len(points))
        drawn = self.rng.integers(1, 48, (k, 2)).astype(float) if points is None else points
        number = entry.id * 10**14 + len(self.images)
        self.images.append({"id": number, "file_name": f"{folder}/{name}", "width": size[0], "height": size[1]})
        self.labels.append(self.label(number, entry.id, drawn))

    def label(self, number: int, category: int, points: np.ndarray) -> dict[str, Any]:
        low, high = points.min(axis=0), points.max(axis=0)
        flat = np.column_stack([points, np.full(len(points), 2.0)]).ravel().tolist()
        made = {"id": number, "image_id": number, "category_id": category, "keypoints": flat, "iscrowd": 0}
        return {**made, "bbox": [*low, *(high - low + 2)], "area": 100.0, "num_keypoints": len(points)}

    def write(self) -> None:
        ids = {label["category_id"] for label in self.labels}
        categories = [
            {"id": id, "name": MP100[id].name, "keypoints": [f"p{i}" for i in range(k)], "skeleton": []}
            for id, k in self.keypoints.items()
            if id in ids
        ]
        self.annotations.mkdir(exist_ok=True)
        tree = {"images": self.images, "annotations": self.labels, "categories": categories}
        (self.annotations / "mp100_split1_test.json").write_text(json.dumps(tree))

    def _cars(self) -> None:
        """MP-100's ids aren't those of this COCO file, as wherever a folder lists in another order."""
        trees: dict[str, dict] = {part: {"images": [], "annotations": []} for part in ("train", "test")}
        for n, (folder, place) in enumerate(CARS):
            self.draw(f"carfusion/{place}")
            self.annotate(folder, f"15008012{n:02d}.jpg")
            part, below = place.split("/", 1)
            for m, name in enumerate((below, below.replace("_", "_9"))):  # and a picture that isn't annotated
                id = 700 + 10 * n + m
                label = (
                    dict(self.labels[-1])
                    if not m
                    else self.label(id, 1, self.rng.integers(1, 48, (4, 2)).astype(float))
                )
                trees[part]["images"].append({"id": id, "file_name": name, "width": 64, "height": 48})
                trees[part]["annotations"].append(label | {"id": id, "image_id": id, "category_id": 1})
        folder_ = self.folder / "carfusion/annotations"
        folder_.mkdir(parents=True)
        for part, tree in trees.items():
            (folder_ / f"car_keypoints_{part}.json").write_text(json.dumps(tree))

    def _frames(self) -> None:
        for folder, (_, k, count) in FRAMES.items():
            path = (
                self.folder / "DeepPoseKit-Data/datasets" / folder.removesuffix("_body") / "annotation_data_release.h5"
            )
            path.parent.mkdir(parents=True)
            points = self.rng.uniform(1, 47, (count, k, 2))
            coarse = self.rng.integers(0, 255, (count, 12, 12), dtype=np.uint8)
            frames = np.kron(coarse, np.ones((4, 4), np.uint8))[..., None]
            with h5py.File(path, "w") as tree:
                tree["images"], tree["annotations"] = frames, points
                tree["annotated"] = np.ones((count, k), dtype=bool)
                tree["skeleton"] = np.zeros((k, 2), dtype=int)
            for number, row in enumerate(reversed(range(count - 2))):  # numbered in another order than they lie
                self.annotate(folder, f"{number}.jpg", points[row], (48, 48))

    def remove(self, place: str) -> None:
        (self.folder / place).unlink()


@pytest.fixture
def downloads(tmp_path: Path) -> Downloads:
    """Downloads to spoil."""
    return Downloads(tmp_path)
