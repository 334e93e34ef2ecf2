"""`data pack` of 20 000 images against decoding each and encoding its crop; what it writes, and its peak memory.

Photographs can't be shipped: 1000 synthetic scenes of 640 px, each under twenty names, with an instance each. The
seconds of the processors say what either takes where others are at work beside it.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
from harness import parsed, parser, record

from capetune.cluster.processors import usable_cpus
from capetune.datasets.mp100.gather import gather
from capetune.datasets.packs.cutting import REACH
from capetune.datasets.packs.threads import ordered
from capetune.datasets.packs.writer import pack
from capetune.datasets.synthetic.generate import generate
from capetune.pose import Instance

APART = 10**16  # more than any id


def multiplied(root: Path, out: Path, names: int) -> None:
    """The data set with each image under so many names, and an annotation for each."""
    (out / "annotations").mkdir(parents=True)
    for file in sorted((root / "annotations").iterdir()):
        tree = json.loads(file.read_text())
        images, annotations = tree["images"], tree["annotations"]
        tree["images"], tree["annotations"] = [], []
        for n in range(names):
            for image in images:
                name = f"{n}/{image['file_name']}"
                tree["images"].append(image | {"id": image["id"] + n * APART, "file_name": name})
                link = out / "images" / name
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.exists():
                    os.link(root / "images" / image["file_name"], link)
            for entry in annotations:
                own = {"id": entry["id"] + n * APART, "image_id": entry["image_id"] + n * APART}
                tree["annotations"].append(entry | own)
        (out / "annotations" / file.name).write_text(json.dumps(tree))


def measured(kind: str, root: Path) -> dict[str, float]:
    """One of both, in a process of its own: images, seconds by the clock and of its processors, and its peak in MiB."""
    shutil.rmtree(root / "pack", ignore_errors=True)
    out = subprocess.run([sys.executable, __file__, kind, root], check=True, capture_output=True, text=True)
    found = json.loads(out.stdout.splitlines()[-1])
    return found | {"images a processor's second": found["images"] / found["processors"]}


def child(kind: str, root: Path) -> None:
    import webdataset  # noqa: F401  # it brings torch along: some seconds of every packing, whatever its size

    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    count = WORK[kind](root)
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
    processors = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    size = sum(file.stat().st_size for file in (root / "pack").glob("*")) / 1e6
    found = {"images": count, "seconds": seconds, "processors": processors, "MiB": after.ru_maxrss / 1024, "MB": size}
    print(json.dumps(found))


def packed(root: Path) -> int:
    return pack(root / "annotations", root / "images", root / "pack").instances


def coded(root: Path) -> int:
    """Decode each image and encode the pixels that a pack stores of it, in as many threads."""
    instances = list(gather(root / "annotations").instances.values())

    def job(instance: Instance) -> int:
        image = cv2.imread(str(root / "images" / instance.file_name))
        assert image is not None
        x, y, width, height = instance.box
        reach = REACH * max(width, height) / 2
        left, top = (max(0, int(centre - reach)) for centre in (x + width / 2, y + height / 2))
        crop = image[top : int(y + height / 2 + reach), left : int(x + width / 2 + reach)]
        return len(cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 92])[1])

    assert all(ordered(job, instances, usable_cpus(), 4 * usable_cpus()))
    return len(instances)


WORK = {"decode + encode": coded, "data pack": packed}


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--names", type=int, default=20, help="of each of the 1000 images")
    arguments = parsed(made)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        generate(root / "raw", categories=50, images=20, size=640)
        many = arguments.names
        for names in (1, many):
            multiplied(root / "raw", root / str(names), names)
        rows = [("decode + encode", 1), ("data pack", 1), ("data pack", many)]
        found = [{"work": kind, **measured(kind, root / str(names))} for kind, names in rows]
        record("pack", {"benchmark": "pack", "rows": found}, arguments.save)


if __name__ == "__main__":
    child(sys.argv[1], Path(sys.argv[2])) if sys.argv[1:2] and sys.argv[1] in WORK else main()
