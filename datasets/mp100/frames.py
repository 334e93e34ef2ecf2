"""Split video frames in time: train on the first ones of each category, test on the last, categories known.

MP-100's own splits ask about categories never seen. This asks how well poses are read off categories that were, which
is what somebody with a labelled video wants to know.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capetune.datasets.mp100.findings import noted, said
from capetune.datasets.mp100.format import load_json
from capetune.datasets.mp100.gather import Gathered, gather
from capetune.errors import UserError
from capetune.pose import PARTS
from capetune.storage.whole import whole


@dataclass(frozen=True)
class Frames:
    """How many images of a category went to each part. names: what category."""

    name: str
    counts: dict[str, int]


def split_by_frames(
    annotations: Path,
    out: Path,
    categories: Sequence[str] = (),
    train: float = 0.7,
    val: float = 0.1,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Frames]:
    """Write `mp100_split1_{train,val,test}.json` into the new folder `out`: each image of a category in one part.

    A category's images are put in the order of their file names. The first `train` of them are for training, the last
    `val` share of all among these held out of it for validation, the rest is for testing. Without a validation part,
    val = 0, no epoch can be chosen and no trial be scored: that is for settings that are fixed already.

    categories: names; all that have an instance if none is given. tell: hears a line for each kind of thing that isn't
    written, or is doubtful. Raises UserError where one of the categories isn't there, has too few images for the parts,
    the files contradict each other, or `out` exists.
    """
    if not 0 <= val < train < 1:
        raise UserError(f"--train {train:g} --val {val:g}: both are shares, 0 ≤ val < train < 1")
    if out.exists():
        raise UserError(f"{out} exists already: remove it or give another --out")
    gathered = gather(annotations)
    files: dict[int, set[str]] = {}
    for instance in gathered.instances.values():
        files.setdefault(instance.category_id, set()).add(instance.file_name)
    ids = _chosen({gathered.categories[id].name: id for id in files}, categories)
    part_of: dict[tuple[int, str], str] = {}
    made = []
    for name, id in ids.items():
        frames = sorted(files[id])
        first, last = round(len(frames) * (train - val)), round(len(frames) * train)
        groups = dict(zip(PARTS, (frames[:first], frames[first:last], frames[last:]), strict=True))
        if not all(group for part, group in groups.items() if val or part != "val"):
            raise UserError(f"{name} has {len(frames)} images, too few for the parts; leave it out with --category")
        part_of |= {(id, file): part for part, group in groups.items() for file in group}
        made.append(Frames(name, {part: len(group) for part, group in groups.items()}))
    _write(gathered, out, set(ids.values()), part_of)
    for line in (*gathered.unread, *said(noted(gathered.dropped), noted(gathered.doubts))):
        tell(line)
    return made


def _chosen(there: dict[str, int], names: Sequence[str]) -> dict[str, int]:
    unknown = [name for name in names if name not in there]
    if unknown:
        raise UserError(f"no instance of {unknown[0]!r}; there are {', '.join(sorted(there))}")
    return {name: there[name] for name in names} if names else there


def _write(gathered: Gathered, out: Path, ids: set[int], part_of: dict[tuple[int, str], str]) -> None:
    """Copy each instance's annotation to its image's part, once, as the file has it that names it first."""
    parts: dict[str, dict[str, Any]] = {part: {"images": {}, "annotations": {}, "categories": {}} for part in PARTS}
    info: dict[str, Any] = {}  # says where data are synthetic
    for reading in gathered.readings.values():
        tree = load_json(reading.path)
        info = {**(tree["info"] if isinstance(tree.get("info"), dict) else {}), **info}
        images = {image["id"]: image for image in tree["images"]}
        used = {(one.id, one.image_id) for group in reading.part.instances.values() for one in group}
        for part in parts.values():
            for category in tree["categories"]:
                if category["id"] in ids:
                    part["categories"].setdefault(category["id"], category)
        for annotation in tree["annotations"]:
            if (annotation["id"], annotation["image_id"]) in used and annotation["category_id"] in ids:
                image = images[annotation["image_id"]]
                to = parts[part_of[annotation["category_id"], image["file_name"]]]
                to["images"].setdefault(image["id"], image)
                to["annotations"].setdefault(annotation["id"], annotation)
    with whole(out) as aside:
        for name, tables in parts.items():
            rows: dict[str, Any] = {table: list(entries.values()) for table, entries in tables.items()}
            rows["info"] = info
            (aside / f"mp100_split1_{name}.json").write_text(json.dumps(rows))
