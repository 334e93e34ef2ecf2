"""Whether an exported file gives what its model gives: on noise, and on pictures."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from capetune.datasets.episodes.queries import encode_queries
from capetune.datasets.packs.reader import Pack
from capetune.datasets.synthetic.generate import kind, scene
from capetune.datasets.synthetic.render import draw
from capetune.pose import Instance
from capetune.prediction.exported import Given, Runner
from capetune.prediction.model import Model
from capetune.prediction.template import Template

PIXELS = 0.5  # of the picture: the largest difference of a keypoint that passes
SCORE = 0.01
DRAWN = 160  # pixels, the longer side of a drawn picture
QUERIES = 3  # of each category
ENOUGH = 30.0  # seconds, for the turns of one comparison of speeds


@dataclass(frozen=True)
class Parity:
    """The largest differences from the model's own answers. pixels: of a keypoint along one axis, in pixels of its
    picture. score: in (0, 1). keypoints: compared. pictures: what they were of, in words."""

    pixels: float
    score: float
    keypoints: int
    pictures: str

    @property
    def fits(self) -> bool:
        return self.pixels <= PIXELS and self.score <= SCORE

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Asked:
    """Objects of one category. crops: uint8 (S, S, 3) each. boxes: float64 (N, 4)."""

    crops: Sequence[np.ndarray]
    boxes: np.ndarray
    template: Template

    def given(self) -> Given:
        """As an exported file takes it."""
        count, size = len(self.crops), self.template.graph.size
        return (
            np.stack(self.crops).transpose(0, 3, 1, 2).copy(),
            self.boxes.astype(np.float32),
            np.tile(self.template.xy.astype(np.float32), (count, 1, 1)),
            np.tile(self.template.known, (count, 1)),
            np.tile(self.template.graph.adjacency(), (count, 1, 1)),
            np.ones((count, size), dtype=bool),
        )


def compare(model: Model, run: Runner, asked: Sequence[Asked], pictures: str) -> Parity:
    """Each category by itself, then all of them padded into one batch."""
    pixels = score = 0.0
    keypoints = 0
    answers = [answered(model, each) for each in asked]
    together = run(_padded([each.given() for each in asked]))
    begin = 0
    for each, (xy, sure) in zip(asked, answers, strict=True):
        rows, size = slice(begin, begin + len(xy)), xy.shape[1]
        begin += len(xy)
        for found in (run(each.given()), tuple(part[rows, :size] for part in together)):
            # A difference that is no number is the largest there is.
            pixels = max(pixels, float(np.nan_to_num(np.abs(found[0] - xy), nan=np.inf).max()))
            score = max(score, float(np.nan_to_num(np.abs(found[1] - sure), nan=np.inf).max()))
            keypoints += sure.size
    return Parity(pixels, score, keypoints, pictures)


def answered(model: Model, asked: Asked) -> tuple[np.ndarray, np.ndarray]:
    """The model's xy, (N, K, 2), and scores, (N, K)."""
    parts = list(model.predict_crops(zip(asked.crops, asked.boxes, strict=True), asked.template))
    return np.concatenate([part.xy for part in parts]), np.concatenate([part.score for part in parts])


def medians(model: Model, run: Runner, asked: Asked, rounds: int = 5) -> tuple[float, float]:
    """Seconds for a batch of the model, as this machine's CPU runs it, and of the file, taken in turns; the first of
    each isn't counted, and tells how many there can be within ENOUGH, one at least."""
    given = asked.given()
    works = (lambda: answered(model, asked), lambda: run(given))

    def turn() -> list[float]:
        marks = [time.perf_counter()]
        for work in works:
            work()
            marks.append(time.perf_counter())
        return [end - begun for begun, end in itertools.pairwise(marks)]

    possible = int(ENOUGH / sum(turn()))
    own, files = zip(*(turn() for _ in range(max(1, min(rounds, possible)))), strict=True)
    return statistics.median(own), statistics.median(files)


def repeated(asked: Asked, count: int) -> Asked:
    """So many objects, its own again and again."""
    rows = np.arange(count) % len(asked.crops)
    return Asked([asked.crops[int(row)] for row in rows], asked.boxes[rows], asked.template)


def noise(size: int, most: int, seed: int = 0) -> list[Asked]:
    """Pictures and templates of nothing, of 1 and of `most` keypoints, some of unknown place."""
    rng = np.random.default_rng(seed)
    found = []
    for count in sorted({1, most}):
        xy = rng.uniform(0, 1, (count, 2))
        xy[1::5] = np.nan
        edges = [(i, i + 1) for i in range(count - 1) if i % 4]
        boxes = np.column_stack([rng.uniform(0, 400, (2, 2)), rng.uniform(20, 600, (2, 2))])
        crops = list(rng.integers(0, 256, (2, size, size, 3), dtype=np.uint8))
        found.append(Asked(crops, boxes, Template.of(xy, edges)))
    return found


def drawn(model: Model, most: int, categories: int = 4) -> list[Asked]:
    """Objects of the synthetic set's kinds, drawn here, each kind with one of them as its template."""
    found: list[Asked] = []
    for index in range(50 * categories):
        what = kind(0, index)
        graph = what.shape.graph
        if graph.size > most or len(found) == categories:
            continue
        group, crops = [], []
        for image in range(QUERIES + 1):
            view, rng = scene(what, 0, image, DRAWN)
            group.append(Instance(image, image, what.id, "", view.image_size, view.box, view.xy, view.visibility > 0))
            crops.append(model.crop(draw(what.shape, what.look, view, rng), view.box))
        template = Template.of_instances(what.name, graph, group[:1], what.name)
        found.append(Asked(crops[1:], np.stack([each.box for each in group[1:]]), template))
    return found


def packed(model: Model, pack: Pack, split: int, most: int, categories: int = 4) -> list[Asked]:
    """Objects of a pack's first categories, those that validate first. Empty where it has none of so few keypoints."""
    found: list[Asked] = []
    for part in ("val", "test", "train"):
        there = pack.part(split, part)
        for category in there.categories:
            group = there.instances[category.id][: QUERIES + 1]
            if len(found) == categories:
                return found
            if category.graph.size > most or len(group) < 2 or not group[0].visible.any():
                continue
            images, _ = encode_queries(pack, group[1:], model.meta.config.data.size)
            template = Template.of_instances(category.name, category.graph, group[:1], category.name)
            crops = list(images.numpy().transpose(0, 2, 3, 1))
            found.append(Asked(crops, np.stack([each.box for each in group[1:]]), template))
    return found


def _padded(given: Sequence[Given]) -> Given:
    """Batches of several categories as one: as many keypoints as the largest has."""
    most = max(each[-1].shape[1] for each in given)

    def wider(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.pad(array, [(0, most - array.shape[a] if a in axes else 0) for a in range(array.ndim)])

    axes: tuple[tuple[int, ...], ...] = ((), (), (1,), (1,), (1, 2), (1,))
    return [np.concatenate([wider(each[i], axes[i]) for each in given]) for i in range(len(axes))]
