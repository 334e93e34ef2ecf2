"""One set of labels, for each tool's file to be built of: six pictures, two categories, every visibility; only the last
fly has all its keypoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from capetune.datasets.labels.convert import Converted, convert
from capetune.datasets.mp100.divide import divide
from capetune.datasets.packs.reader import open_pack
from capetune.datasets.packs.writer import pack

WIDTH, HEIGHT = 96, 64
NAMES = {"fly": ["head", "left wing", "right wing", "tail"], "beetle": ["horn", "back", "foot"]}
EDGES = {"fly": [(0, 1), (0, 2), (0, 3)], "beetle": [(0, 1), (1, 2)]}


@dataclass(frozen=True)
class Labelled:
    """points: (x, y, v) of each keypoint, v = 0 at (0, 0). box: left, top, width, height."""

    picture: str
    category: str
    points: list[tuple[float, float, int]]
    box: tuple[float, float, float, float]


def _labelled(n: int, category: str, left: float) -> Labelled:
    spots = [(8.25, 9.5), (3.13, 21.75), (25.5, 20.25), (9.0, 33.37)][: len(NAMES[category])]
    seen = [(n + k + len(spots)) % 3 for k in range(len(spots))]
    seen[0] = 2
    if n == 5:
        seen = [max(1, v) for v in seen]
    points = [(left + x, 10 + n + y, v) if v else (0, 0, 0) for (x, y), v in zip(spots, seen, strict=True)]
    return Labelled(f"day one/{n}.png", category, points, (left + 1, 11 + n, 28.5, 36.25))


LABELLED = [_labelled(n, "fly", 2.0) for n in range(6)] + [_labelled(n, "beetle", 50.0) for n in range(6)]


@pytest.fixture
def truth() -> SimpleNamespace:
    """Twelve objects, on each picture a fly and a beetle; names and edges by category; the pictures' size."""
    return SimpleNamespace(objects=LABELLED, names=NAMES, edges=EDGES, width=WIDTH, height=HEIGHT)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The folder that the pictures' names start from."""
    for n in range(6):
        path = tmp_path / "pictures/day one" / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        patches = np.random.default_rng(n).integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
        Image.fromarray(np.kron(patches, np.ones((8, 8, 1), np.uint8))).save(path)
    return tmp_path / "pictures"


def by_name(tree: dict) -> dict[tuple[str, str], np.ndarray]:
    """(K, 3) of each object of a COCO tree, by the last part of its picture's name and by category."""
    images = {image["id"]: Path(image["file_name"]).name for image in tree["images"]}
    names = {category["id"]: category["name"] for category in tree["categories"]}
    return {
        (images[a["image_id"]], names[a["category_id"]]): np.reshape(a["keypoints"], (-1, 3))
        for a in tree["annotations"]
    }


@pytest.fixture
def kept(tmp_path: Path) -> Callable[..., Converted]:
    """kept(source, …) imports and packs, and holds the file and the pack against the labels: keypoints to 0.01 px,
    their names and order, visibility, edges, boxes. What a tool can't say is told: hidden, edges, boxes = False."""

    def check(
        source: Path,
        images: Path | None = None,
        format: str | None = None,
        wanted: list[Labelled] = LABELLED,
        names: dict[str, list[str]] = NAMES,
        hidden: bool = True,
        edges: bool = True,
        boxes: bool = True,
    ) -> Converted:
        made = convert(source, tmp_path / "made", format, images)
        tree = json.loads(made.file.read_text())
        assert {c["name"]: c["keypoints"] for c in tree["categories"]} == names
        drawn = {c["name"]: [(i - 1, j - 1) for i, j in c["skeleton"]] for c in tree["categories"]}
        assert drawn == {name: EDGES[name] if edges else [] for name in names}
        found = by_name(tree)
        assert len(tree["annotations"]) == len(found) == len(wanted)
        assert [len({row["id"] for row in tree[table]}) for table in ("images", "annotations")] == [
            len({one.picture for one in wanted}),
            len(wanted),
        ]
        for one in wanted:
            points = np.array(one.points, dtype=float)
            if not hidden:
                points[points[:, 2] > 0, 2] = 2
            np.testing.assert_allclose(found[Path(one.picture).name, one.category], points, atol=0.01)
        for annotation, one in zip(tree["annotations"], _ordered(tree, wanted), strict=True):
            if boxes:
                np.testing.assert_allclose(annotation["bbox"], one.box, atol=0.01)
            else:
                assert "bbox" not in annotation
        _packed(made, tmp_path / "shards", wanted, names, edges)
        return made

    return check


def _ordered(tree: dict, wanted: list[Labelled]) -> list[Labelled]:
    """The labels in the order of the tree's annotations."""
    keyed = {(Path(one.picture).name, one.category): one for one in wanted}
    return [keyed[key] for key in by_name(tree)]


def _packed(made: Converted, out: Path, wanted: list[Labelled], names: dict, edges: bool) -> None:
    gathered, _ = divide([made.file], made.images)
    pack(gathered, made.images, out, size=32, strict=True)
    packed = open_pack(out)
    graphs = {c.name: (list(c.graph.names), list(c.graph.edges)) for c in packed.categories.values()}
    assert graphs == {name: (names[name], EDGES[name] if edges else []) for name in names}
    found = {(Path(i.file_name).name, packed.categories[i.category_id].name): i for i in packed.instances}
    assert len(packed.instances) == len(wanted)
    for one in wanted:
        instance, points = found[Path(one.picture).name, one.category], np.array(one.points, dtype=float)
        np.testing.assert_array_equal(instance.visible, points[:, 2] > 0)
        np.testing.assert_allclose(instance.xy, points[:, :2], atol=0.01)
