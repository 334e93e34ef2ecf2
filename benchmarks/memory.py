"""Peak memory of training on a pack ten times as large as another: streaming should need no more."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import options, publish

CHILD = "--train"


def train(folder: str) -> None:
    """A short epoch; prints the peak resident memory in MiB."""
    from capetune.config import load_config
    from capetune.datasets.packs.reader import open_pack
    from capetune.training.loop import fit

    settings = ["train.epochs=1", "train.steps=40", "validation.episodes=1", "model.backbone.weights=none"]
    fit(load_config("demo", None, settings), open_pack(Path(folder)), lambda metrics, save: None)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    arguments = options(__doc__, rounds=1)
    from capetune.datasets.packs.writer import pack
    from capetune.datasets.synthetic.generate import generate

    peaks = {}
    with tempfile.TemporaryDirectory() as root:
        for name, categories in (("1 000 instances", 50), ("10 000 instances", 500)):
            place = Path(root) / str(categories)
            generate(place / "raw", categories=categories, images=20)
            pack(place / "raw" / "annotations", place / "raw" / "images", place / "pack", size=128)
            out = subprocess.run(
                [sys.executable, __file__, CHILD, str(place / "pack")], check=True, capture_output=True, text=True
            )
            peaks[name] = float(out.stdout.split()[-1])
    facts = {"work": "peak RSS of a training", "reach": {"10 000 instances": 1.1}}
    publish(
        "memory", {name: [peak] for name, peak in peaks.items()}, "1 000 instances", facts, arguments.save, unit="MiB"
    )


if __name__ == "__main__":
    train(sys.argv[2]) if sys.argv[1:2] == [CHILD] else main()
