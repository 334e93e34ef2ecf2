"""A built-in data set in the layout of MP-100: procedural objects, drawn, annotated and split in five."""

from __future__ import annotations

import json
import multiprocessing
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from capetune.cluster.processors import usable_cpus
from capetune.datasets.synthetic.grammar import shape
from capetune.datasets.synthetic.pose import Scene, pose
from capetune.datasets.synthetic.render import Look, draw, look
from capetune.datasets.synthetic.shapes import Shape
from capetune.errors import UserError
from capetune.pose import PARTS, SPLITS
from capetune.storage.whole import whole

VERSION = 2  # raise it whenever the same seed gives other pictures or poses: scores of two versions don't compare
ID_STEP = 10**14  # as in MP-100: an image's id is category · 10^14 + n
JPEG_QUALITY = 92
MOST_CATEGORIES = 90_000  # beyond it ids leave 64 bits


@dataclass(frozen=True)
class Kind:
    """One category: its geometry and its look. index: from 0; the id in the files is index + 1."""

    index: int
    shape: Shape
    look: Look

    @property
    def id(self) -> int:
        return self.index + 1

    @property
    def name(self) -> str:
        return f"{self.shape.family}_{self.id:04d}"


def kind(seed: int, index: int) -> Kind:
    """Category `index` of data set `seed`; it doesn't depend on how many others there are."""
    rng = np.random.default_rng([seed, 1, index])
    return Kind(index, shape(rng), look(rng))


def scene(kind: Kind, seed: int, image: int, size: int) -> tuple[Scene, np.random.Generator]:
    """Image number `image` of a category before drawing, and the generator that draws it (see `draw`)."""
    rng = np.random.default_rng([seed, 2, kind.index, image])
    return pose(kind.shape, rng, size), rng


def split_categories(categories: int, seed: int) -> dict[tuple[int, str], list[int]]:
    """Category indices, sorted, of (split, part). In a split the parts are disjoint and name all categories; the five
    test parts are disjoint and name all. A fifth is tested, a tenth validates, the rest trains."""
    folds = np.array_split(np.random.default_rng([seed, 0]).permutation(categories), len(SPLITS))
    found = {}
    for split, test in zip(SPLITS, folds, strict=True):
        val = folds[split % len(SPLITS)][: max(1, categories // 10)]
        train = np.setdiff1d(np.arange(categories), np.concatenate([test, val]))
        for part, chosen in zip(PARTS, (train, val, test), strict=True):
            found[split, part] = sorted(int(i) for i in chosen)
    return found


def generate(
    out: Path,
    categories: int = 1000,
    images: int = 20,
    size: int = 160,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write `out`/annotations and `out`/images: one object an image, `size` pixels its longer side.

    The same seed and numbers give the same bytes, whatever `workers` (None: one a CPU) is. Nothing appears at `out`
    before everything is written. progress: hears how many categories are drawn, of how many. Raises UserError for
    numbers that make no data set and where `out` isn't empty.
    """
    out = Path(out)
    _validate(out, categories, images, size, seed, workers)
    with whole(out) as aside:
        (aside / "annotations").mkdir()
        rows = _draw_all(aside / "images", categories, images, size, seed, workers or usable_cpus(), progress)
        _write_annotations(aside / "annotations", rows, categories, seed)


def _validate(out: Path, categories: int, images: int, size: int, seed: int, workers: int | None) -> None:
    for name, value, low, high in (
        ("categories", categories, 10, MOST_CATEGORIES),
        ("images", images, 1, 100_000),
        ("size", size, 64, 4096),
        ("seed", seed, 0, 2**63 - 1),
        ("workers", 1 if workers is None else workers, 1, 1024),
    ):
        if not low <= value <= high:
            raise UserError(f"{name} is {value}; choose a number from {low} to {high}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and isn't an empty folder; delete it or choose another --out")


@dataclass(frozen=True)
class _Rows:
    """A category's part of the annotation files, already as JSON (a category stands in all five splits)."""

    category: str
    images: str
    annotations: str


def _draw_all(
    folder: Path,
    categories: int,
    images: int,
    size: int,
    seed: int,
    workers: int,
    progress: Callable[[int, int], None],
) -> list[_Rows]:
    """Draw every category, in order, on `workers` processes."""
    jobs = [(folder, index, images, size, seed) for index in range(categories)]
    rows: list[_Rows] = []
    progress(0, categories)
    with closing(_results(jobs, min(workers, categories))) as results:  # on Ctrl-C stop drawing before cleaning up
        for row in results:
            rows.append(row)
            progress(len(rows), categories)
    return rows


def _results(jobs: list[tuple[Path, int, int, int, int]], workers: int) -> Generator[_Rows, None, None]:
    if workers == 1:
        yield from map(_draw_category, jobs)
        return
    context = multiprocessing.get_context("spawn")  # forking a process that has run OpenCV or torch may hang
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        with _main_unseen():
            drawn = pool.map(_draw_category, jobs, chunksize=4)  # starts the processes
        yield from drawn
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _main_unseen() -> Iterator[None]:
    """Processes that are started inside don't run the user's script again: it may have no `if __name__ == …`."""
    main = sys.modules["__main__"].__dict__
    kept: dict[str, Any] = {name: main.pop(name) for name in ("__file__", "__spec__") if name in main}
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(kept)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops and cleans up
    cv2.setNumThreads(0)


def _draw_category(job: tuple[Path, int, int, int, int]) -> _Rows:
    folder, index, images, size, seed = job
    one = kind(seed, index)
    (folder / one.name).mkdir(parents=True)
    image_rows, annotation_rows = [], []
    for i in range(images):
        placed, rng = scene(one, seed, i, size)
        file_name = f"{one.name}/{i + 1:06d}.jpg"
        picture = draw(one.shape, one.look, placed, rng)
        done, data = cv2.imencode(
            ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        )
        assert done
        (folder / file_name).write_bytes(data.tobytes())
        width, height = placed.image_size
        image_id = one.id * ID_STEP + i + 1
        image_rows.append({"id": image_id, "file_name": file_name, "height": height, "width": width})
        annotation_rows.append(_annotation(one.id, image_id, placed))
    graph = one.shape.graph
    category = {
        "supercategory": one.shape.family,
        "id": one.id,
        "name": one.name,
        "keypoints": list(graph.names),
        "skeleton": [[i + 1, j + 1] for i, j in graph.edges],
    }
    return _Rows(json.dumps(category), json.dumps(image_rows)[1:-1], json.dumps(annotation_rows)[1:-1])


def _annotation(category_id: int, image_id: int, placed: Scene) -> dict:
    flat: list[float | int] = []
    for (x, y), v in zip(placed.xy.tolist(), placed.visibility.tolist(), strict=True):
        flat += [round(x, 2), round(y, 2), v]
    box = [round(value, 2) for value in placed.box.tolist()]
    return {
        "keypoints": flat,
        "image_id": image_id,
        "id": image_id + 10**6,
        "num_keypoints": int((placed.visibility > 0).sum()),
        "bbox": box,
        "iscrowd": 0,
        "area": round(box[2] * box[3], 2),
        "category_id": category_id,
    }


def _write_annotations(folder: Path, rows: list[_Rows], categories: int, seed: int) -> None:
    info = {
        "description": "capetune synthetic: procedural objects in the layout of MP-100",
        "capetune": "synthetic",
        "seed": seed,
        "version": VERSION,
    }
    for (split, part), chosen in split_categories(categories, seed).items():
        mine = [rows[i] for i in chosen]
        with open(folder / f"mp100_split{split}_{part}.json", "w") as file:
            file.write(f'{{"info": {json.dumps(info)}, "images": [')
            file.write(",\n".join(row.images for row in mine))
            file.write('], "annotations": [')
            file.write(",\n".join(row.annotations for row in mine))
            file.write('], "categories": [')
            file.write(",\n".join(row.category for row in mine))
            file.write("]}\n")
