"""`data pack` of 20 000 images against decoding each and encoding its crop; what it writes, and its peak memory.

Photographs can't be shipped: 1000 synthetic scenes of 900 px, each under twenty names, with an instance each.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
from harness import interleave, options, publish, record

from capetune.cluster.processors import usable_cpus
from capetune.datasets.mp100.gather import gather
from capetune.datasets.packs.cutting import REACH
from capetune.datasets.packs.threads import ordered
from capetune.datasets.packs.writer import pack
from capetune.datasets.synthetic.generate import generate
from capetune.pose import Instance

CHILD = "--pack"
NAMES = 20  # of each image


def multiplied(root: Path, out: Path, names: int) -> None:
    """The data set with each image under so many names, and an annotation for each."""
    (out / "annotations").mkdir(parents=True)
    for file in sorted((root / "annotations").iterdir()):
        tree = json.loads(file.read_text())
        images, annotations = tree["images"], tree["annotations"]
        most = 1 + max(entry["id"] for entry in (*images, *annotations))
        tree["images"], tree["annotations"] = [], []
        for n in range(names):
            for image in images:
                name = f"{n}/{image['file_name']}"
                tree["images"].append(image | {"id": image["id"] + n * most, "file_name": name})
                link = out / "images" / name
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.exists():
                    os.link(root / "images" / image["file_name"], link)
            for entry in annotations:
                own = {"id": entry["id"] + n * most, "image_id": entry["image_id"] + n * most}
                tree["annotations"].append(entry | own)
        (out / "annotations" / file.name).write_text(json.dumps(tree))


def child(root: str) -> None:
    """Pack once; prints seconds, bytes and the peak resident memory in MiB."""
    begun = time.perf_counter()
    made = pack(Path(root) / "annotations", Path(root) / "images", Path(root) / "pack")
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([seconds, sum(shard.bytes for shard in made.shards), peak, made.instances]))


def packed(root: Path) -> list[float]:
    subprocess.run(["rm", "-rf", root / "pack"], check=True)
    out = subprocess.run([sys.executable, __file__, CHILD, root], check=True, capture_output=True, text=True)
    return json.loads(out.stdout.splitlines()[-1])


def coded(root: Path) -> float:
    """Decode each image and encode the pixels that a pack stores of it, in as many threads. Returns the seconds."""
    instances = list(gather(root / "annotations").instances.values())

    def job(instance: Instance) -> int:
        image = cv2.imread(str(root / "images" / instance.file_name))
        assert image is not None
        x, y, width, height = instance.box
        reach = REACH * max(width, height) / 2
        left, top = (max(0, int(centre - reach)) for centre in (x + width / 2, y + height / 2))
        crop = image[top : int(y + height / 2 + reach), left : int(x + width / 2 + reach)]
        return len(cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 92])[1])

    begun = time.perf_counter()
    assert all(ordered(job, instances, usable_cpus(), 4 * usable_cpus()))
    return time.perf_counter() - begun


def main() -> None:
    arguments = options(__doc__ or "", rounds=3)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        generate(root / "raw", categories=50, images=20, size=900)
        few, many = root / "few", root / "many"
        multiplied(root / "raw", few, NAMES // 10)
        multiplied(root / "raw", many, NAMES)
        took: dict[str, list[float]] = {"decode + encode": [], "data pack": []}
        work = {
            "decode + encode": lambda: took["decode + encode"].append(coded(few)),
            "data pack": lambda: took["data pack"].append(packed(few)[0]),
        }
        interleave(work, arguments.rounds)
        seconds = {name: times[1:] for name, times in took.items()}
        publish("pack", seconds, "decode + encode", {"work": "2000 images of 900 px", "reach": {}}, arguments.save)
        sizes: dict[str, Any] = {}
        for place in (few, many):
            seconds_, size, peak, count = packed(place)
            sizes[f"{count:.0f}"] = {"seconds": seconds_, "images/s": count / seconds_, "MB": size / 1e6, "MiB": peak}
        record("pack", {"benchmark": "pack", "by instances": sizes}, arguments.save)


if __name__ == "__main__":
    child(sys.argv[2]) if sys.argv[1:2] == [CHILD] else main()
