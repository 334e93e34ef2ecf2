"""Augmented, collated training batches of packed shards against torchvision's decoding of the same stored bytes.

Photographs can't be shipped: the sources are synthetic scenes of 900 px, packed for 512 px inputs, so that stored crops
are as large as those of real photographs.
"""

from __future__ import annotations

import tempfile
from itertools import islice
from pathlib import Path

import torch
from harness import interleave, options, publish
from torchvision.io import decode_jpeg

from capetune.config import load_config
from capetune.datasets.episodes.stream import train_batches
from capetune.datasets.packs.reader import Pack, open_pack
from capetune.datasets.packs.writer import pack
from capetune.datasets.synthetic.generate import generate


def stored_bytes(data: Pack, count: int) -> list[torch.Tensor]:
    """The jpgs of the first train instances, uint8 (n,) each."""
    part = data.part(1, "train")
    rows = [data.row(instance.id) for group in part.instances.values() for instance in group]
    out = []
    for row in islice(rows, count):
        with data.open_shard(row.shard) as stream:
            stream.seek(row.offset)
            out.append(torch.frombuffer(bytearray(stream.read(row.length)), dtype=torch.uint8))
    assert len(out) == count, f"the pack has only {len(out)} train instances"
    return out


def main() -> None:
    arguments = options(__doc__, rounds=5)
    count, size = 640, 16  # several passes, so that starting processes and filling buffers count for little
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        generate(root / "raw", categories=48, images=20, size=900)
        pack(root / "raw" / "annotations", root / "raw" / "images", root / "pack")
        data = open_pack(root / "pack")
        jpgs = stored_bytes(data, count)

        def load(workers: int) -> None:
            config = load_config("tiny", None, [f"data.workers={workers}"]).data
            for _ in train_batches(data, config, size, 0, 1, steps=count // size):
                pass

        work = {
            "decode_jpeg": lambda: [decode_jpeg(jpg) for jpg in jpgs],
            "loader, this process": lambda: load(0),
            "loader, 2 processes": lambda: load(2),
        }
        seconds = interleave(work, arguments.rounds)
    reach = {"loader, this process": 1 / 0.6, "loader, 2 processes": 1 / 0.6 / 1.7}
    facts = {"work": f"{count} images of 512 px", "reach": reach}
    publish("loader", seconds, "decode_jpeg", facts, arguments.save)


if __name__ == "__main__":
    main()
