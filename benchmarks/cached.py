"""A trial on kept features of a frozen backbone against the same trial with the backbone in the loop.

A trial is an epoch: training steps and validation in the proportion of the preset. Computing the features, once for all
trials of a search, is told apart.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path

from harness import interleave, options, publish

from capetune.config import Config, load_config
from capetune.datasets.packs.reader import Pack, open_pack
from capetune.datasets.packs.writer import pack
from capetune.datasets.synthetic.generate import generate
from capetune.training.features import Features, keep_features, open_features
from capetune.training.loop import fit

COPIES = 1  # the number makes no difference to the time of a trial
SETTINGS = {
    "Lite0 at 128 px": ("demo", ["train.steps=40", "validation.episodes=1", "validation.queries=2"]),
    "ResNet-50 at 512 px": (
        "tiny",
        [
            *("model.backbone.frozen=all", "model.backbone.weights=none", "model.refine=false"),
            *("train.steps=6", "validation.episodes=1", "validation.queries=1"),
        ],
    ),
}
REACH = {"Lite0 at 128 px": 1.8, "ResNet-50 at 512 px": 5.0}


def make_pack(root: Path, size: int) -> Pack:
    generate(root / "raw", categories=30, images=4, size=900 if size > 128 else 256)
    pack(root / "raw" / "annotations", root / "raw" / "images", root / "pack", size=size)
    return open_pack(root / "pack")


def trial(config: Config, data: Pack, kept: Features | None) -> None:
    fit(config, data, lambda metrics, save: None, features=kept)


def main() -> None:
    arguments = options(__doc__, rounds=3)
    for name, (preset, settings) in SETTINGS.items():
        config = load_config(preset, None, ["train.epochs=1", *settings])
        with tempfile.TemporaryDirectory() as folder:
            data = make_pack(Path(folder), config.data.size)
            begun = time.monotonic()
            keep_features(Path(folder) / "features", data, config, COPIES)
            crops = COPIES * len(data.part(1, "train")) + len(data.part(1, "val"))
            each = (time.monotonic() - begun) / crops
            features = open_features(Path(folder) / "features")

            work = {
                "kept features": partial(trial, config, data, features),
                "in the loop": partial(trial, config, data, None),
            }
            seconds = interleave(work, arguments.rounds)
        facts = {"work": f"{name}: {settings}", "seconds_a_kept_crop": each, "reach": {"in the loop": REACH[name]}}
        publish("cached", seconds, "kept features", facts, arguments.save)


if __name__ == "__main__":
    main()
