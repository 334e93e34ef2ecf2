"""Training batches of a pack on S3 (moto's, on loopback) and on a web server, against the same pack in a folder.

kept: the machine has the shards, as from the second pass on. first: it has none, as in the first. The servers are
processes of their own; what they take of two cores is in the figures.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from harness import interleave, options, publish
from stores import names, server, store

from capetune.config import load_config
from capetune.datasets.episodes.stream import train_batches
from capetune.datasets.packs.reader import Pack, open_pack
from capetune.datasets.packs.writer import pack
from capetune.datasets.synthetic.generate import generate
from capetune.storage.address import open_place

COUNT, SIZE = 640, 16  # images, and of a batch
REACH = 1.05


def load(data: Pack) -> None:
    for _ in train_batches(data, load_config("tiny").data, SIZE, 0, 1, steps=COUNT // SIZE):
        pass


def main() -> None:
    arguments = options(__doc__, rounds=5)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ["CAPETUNE_CACHE"] = str(root / "cache")
        generate(root / "raw", categories=48, images=20, size=900)
        pack(root / "raw/annotations", root / "raw/images", root / "pack")
        web = server("http.server", "--bind", "127.0.0.1", "--directory", str(root), "{port}")
        with store() as port, web as http:
            os.environ |= names(port)
            for file in (root / "pack").iterdir():
                open_place("s3://bucket/pack").send(file, file.name)
            here, there, served = map(open_pack, (root / "pack", "s3://bucket/pack", f"{http}/pack"))

            def first() -> None:
                shutil.rmtree(root / "cache" / "shards", ignore_errors=True)
                load(there)

            work = {"folder": lambda: load(here), "S3, first pass": first}
            work |= {"S3, kept": lambda: load(there), "HTTP, kept": lambda: load(served)}
            seconds = interleave(work, arguments.rounds)
    facts = {"work": f"{COUNT} images of 512 px", "reach": {"S3, kept": REACH, "HTTP, kept": REACH}}
    publish("distant", seconds, "folder", facts, arguments.save)


if __name__ == "__main__":
    main()
