"""Record the learning curves of some two hundred small trainings, which `search.py` replays: benchmarks/curves.csv.

Random points of a wide space, trained by the loop that a search's trials run, on kept features of a small synthetic
set; every tenth with a second seed too, which tells how far the score is chance. Called again it goes on where it was
cut off.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from harness import parsed, parser

from capetune.config import Config, load_config
from capetune.datasets.packs.reader import Pack, open_pack
from capetune.datasets.packs.writer import pack
from capetune.datasets.synthetic.generate import generate
from capetune.errors import Diverged
from capetune.storage.whole import write_aside
from capetune.training.features import Features, keep_features, open_features
from capetune.training.loop import Metrics, Save, fit
from capetune.tuning.space import Space
from capetune.tuning.space_file import load_space

TABLE = Path(__file__).parent / "curves.csv"
SPACE = """
train.learning_rate: {log: [0.00001, 0.1]}
train.weight_decay: {log: [0.00001, 1.0]}
train.clip: {log: [0.01, 10.0]}
loss.tokens: {log: [0.01, 10.0]}
loss.coordinates: {log: [0.1, 50.0]}
train.input_noise: {uniform: [0.0, 0.5]}
"""
EPOCHS = 9
MODEL = [
    *("model.width=48", "model.heads=4", "model.decoder.layers=1", "model.support.layers=1", "train.batch_size=16"),
    *(f"train.epochs={EPOCHS}", "train.steps=12", "train.warmup=5", "train.schedule=cosine"),
    *("train.input_noise=0.05", "train.learning_rate=0.0001", "validation.episodes=3", "validation.queries=6"),
]
AGAIN = 10  # of so many points one is trained with a second seed


def space_of(folder: Path, header: str = "") -> tuple[Space, Config]:
    """The space that the table's points were drawn of, and its default. header: lines about the search."""
    config = load_config("demo", None, MODEL)
    file = folder / "curves.yaml"
    file.write_text(header + SPACE)
    return load_space(file, config), config


def points(space: Space, count: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Values and seed of every training, in order."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(count):
        values = {key: float(f"{value:.6g}") for key, value in space.suggest(study.ask()).items()}
        yield values, 1
        if number % AGAIN == 0:
            yield values, 2


def made_data(root: Path, base: Config) -> tuple[Pack, Features]:
    """A hundred procedural categories, and their features; of a folder that has them, those."""
    if not (root / "features").is_dir():
        generate(root / "raw", categories=100, images=10, size=256)
        pack(root / "raw" / "annotations", root / "raw" / "images", root / "pack", size=128)
        keep_features(root / "features", open_pack(root / "pack"), base, copies=2)
    return open_pack(root / "pack"), open_features(root / "features")


def curve(config: Config, data: Pack, features: Features) -> list[float]:
    """Generated mPCK4 of each epoch; shorter where it diverged."""
    found: list[float] = []

    def report(metrics: Metrics, save: Save) -> None:
        found.append(metrics["mpck4"])

    try:
        fit(config, data, report, features=features)
    except Diverged as error:
        print(error, flush=True)
    return found


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--points", type=int, default=200)
    made.add_argument("--table", type=Path, default=TABLE)
    made.add_argument("--work", type=Path, help="A folder that keeps data and features for the next call.")
    arguments = parsed(made)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.work or Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        space, base = space_of(root)
        head = ["seed", *space.parameters, *(f"epoch_{epoch}" for epoch in range(1, EPOCHS + 1))]
        rows = list(csv.reader(arguments.table.open())) if arguments.table.is_file() else [head]
        data, features = made_data(root, base)
        known = {tuple(row[: len(head) - EPOCHS]) for row in rows}
        for values, seed in points(space, arguments.points):
            key = [str(seed), *map(str, values.values())]
            if tuple(key) in known:
                continue
            scores = curve(base.with_overrides({**values, "seed": seed}), data, features)
            rows.append([*key, *(f"{score:.4f}" for score in scores), *[""] * (EPOCHS - len(scores))])
            write_aside(arguments.table, "".join(",".join(row) + "\n" for row in rows))
            print(len(rows) - 1, *rows[-1], flush=True)


if __name__ == "__main__":
    main()
