"""Evaluation against what it can't do without: decoding each image, the backbone once an image, generation by 64.

demo's validation (1000 pairs of 100 categories, with teacher-forced losses) from pixels, on kept features and with 2
pairs a category; and the official 200 episodes of 15 queries on 20 categories. On the built-in data set, which is made
on first use; the model is untrained.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import interleave, options, publish

from capetune.config import Config, load_config
from capetune.datasets.builtin import open_data
from capetune.datasets.episodes.queries import encode_queries
from capetune.datasets.packs.reader import Pack
from capetune.evaluation.evaluate import evaluate
from capetune.evaluation.model import ModelPredictor
from capetune.evaluation.order import decoding_order
from capetune.evaluation.pair_batch import pair_batch
from capetune.evaluation.protocol import official_pairs
from capetune.evaluation.support import own
from capetune.models.backbone import Maps
from capetune.models.estimator import PoseEstimator
from capetune.pose import Batch, Instance, Part
from capetune.training.features import Features
from capetune.training.ranks import Ranks
from capetune.training.validation import Validation

SIZE = 64  # pairs a batch, and images
REACH = 1.2


class Floor:
    """The parts of an evaluation, each by itself: its images, their maps, and its pairs in batches of 64."""

    def __init__(self, model: PoseEstimator, pack: Pack, part: Part, episodes: int, queries: int, size: int) -> None:
        self.model, self.pack, self.size = model, pack, size
        pairs = official_pairs(part, 1, episodes, queries).categories
        order, image = decoding_order(pairs)
        groups = [part.instances[drawn.category.id] for drawn in pairs]
        first = np.unique(image, return_index=True)[1]
        self.instances: list[Instance] = [groups[e][pairs[e].queries[row]] for e, row in order[first]]
        self.images = encode_queries(pack, self.instances, size)[0]
        self.maps = tuple(torch.cat(maps) for maps in zip(*self.look(), strict=True))
        self.batches: list[tuple[Batch, Maps]] = []
        for begin in range(0, len(order), SIZE):
            shown = []
            for e, row in order[begin : begin + SIZE]:
                support = own(pairs[e].category, groups[e], pairs[e].supports[row : row + 1])
                shown.append((support, [groups[e][pairs[e].queries[row]]]))
            asked = image[begin : begin + SIZE]
            self.batches.append((pair_batch(shown), tuple(maps[asked] for maps in self.maps)))

    def decode(self) -> None:
        for begin in range(0, len(self.instances), SIZE):
            encode_queries(self.pack, self.instances[begin : begin + SIZE], self.size)

    @torch.inference_mode()
    def look(self) -> list[Maps]:
        return [self.model.backbone(images) for images in self.images.split(SIZE)]

    def generate(self) -> None:
        for batch, maps in self.batches:
            self.model.predict(batch, maps)

    @torch.inference_mode()
    def teach(self) -> None:
        for batch, maps in self.batches:
            self.model(batch, memory=self.model.remember(batch, maps))

    def all(self) -> None:
        self.decode()
        self.look()
        self.generate()


def kept(pack: Pack, floor: Floor, folder: Path) -> Features:
    """The val part's features as a search keeps them; the train part's aren't asked for."""
    instances = [instance for group in pack.part(1, "val").instances.values() for instance in group]
    with torch.inference_mode():
        seen = [
            floor.model.backbone.features(encode_queries(pack, instances[begin : begin + SIZE], floor.size)[0])
            for begin in range(0, len(instances), SIZE)
        ]
    files = []
    for i, maps in enumerate(zip(*seen, strict=True)):
        np.save(folder / f"{i}.npy", torch.cat(maps).half().numpy())
        files.append(np.load(folder / f"{i}.npy", mmap_mode="r"))
    rows = {instance.id: row for row, instance in enumerate(instances)}
    return Features((), np.empty((0, 1, 3)), np.empty(0, np.int64), tuple(files), rows)


def validation(config: Config, pack: Pack, model: PoseEstimator, rounds: int, save: bool) -> None:
    """demo's three validations, and their floors."""
    part = pack.part(1, "val")
    settings, few = config.validation, {"validation.episodes": 1, "validation.queries": 2}
    floor = Floor(model, pack, part, settings.episodes, settings.queries, config.data.size)
    with tempfile.TemporaryDirectory() as folder:
        features = kept(pack, floor, Path(folder))
        check = Validation(model, pack, config, Ranks())
        cases: dict[str, tuple[Callable[[], Any], Callable[[], Any], Floor]] = {
            "from pixels": (check, floor.all, floor),
            "on kept features": (Validation(model, pack, config, Ranks(), features), floor.generate, floor),
        }
        small = Floor(model, pack, part, 1, 2, config.data.size)
        two = Validation(model, pack, config.with_overrides(few), Ranks())
        cases["2 pairs a category"] = (two, small.all, small)
        for name, (ours, its, parts) in cases.items():
            work = {"validation": ours, "floor": its, "teacher-forced decoding alone": parts.teach}
            seconds = interleave(work, rounds)
            facts = {"work": f"demo's validation {name}", "pairs": sum(len(batch) for batch, _ in parts.batches)}
            publish("evaluate", seconds, "floor", facts | {"reach": {"validation": REACH}}, save)


def official(config: Config, pack: Pack, model: PoseEstimator, save: bool, episodes: int = 200) -> None:
    """60 000 pairs take minutes: one turn, with a tenth of the floor's pairs before and after it."""
    whole = pack.part(1, "test")
    chosen = whole.categories[:20]
    part = replace(whole, categories=chosen, instances={c.id: whole.instances[c.id] for c in chosen})
    floor = Floor(model, pack, part, episodes // 10, 15, config.data.size)
    floor.all()
    turns: dict[str, list[float]] = {"decode": [], "look": [], "generate": []}

    def measure() -> None:
        for name, turn in turns.items():
            begun = time.perf_counter()
            getattr(floor, name)()
            turn.append(time.perf_counter() - begun)

    measure()
    begun = time.perf_counter()
    report = evaluate(part, ModelPredictor(model, pack, config.data), 1, episodes, 15)
    taken = time.perf_counter() - begun
    measure()
    means = {name: statistics.mean(turn) for name, turn in turns.items()}
    seconds = {"evaluation": [taken], "floor": [means["decode"] + means["look"] + 10 * means["generate"]]}
    facts = {"work": f"official {episodes} x 15 on 20 categories", "pairs": report.scores.pairs}
    publish("evaluate", seconds, "floor", facts | {"reach": {"evaluation": REACH}}, save)


def main() -> None:
    arguments = options(__doc__, rounds=3)
    config = load_config("demo")
    torch.manual_seed(0)
    model = PoseEstimator(config.model).eval()
    pack = open_data("synthetic", print)
    validation(config, pack, model, arguments.rounds, arguments.save)
    official(config, pack, model, arguments.save)


if __name__ == "__main__":
    main()
