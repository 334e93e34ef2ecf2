"""Split video frames in time: train on the first ones of each category, test on the last, categories known.

MP-100's own splits ask about categories never seen. This asks how well poses are read off categories that were, which
is what somebody with a labelled video wants to know.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capetune.datasets.mp100.findings import noted, said
from capetune.datasets.mp100.format import load_json
from capetune.datasets.mp100.gather import Gathered, gather
from capetune.datasets.mp100.parts import TRAIN, by_pictures, picture
from capetune.errors import UserError
from capetune.pose import PARTS
from capetune.storage.whole import whole


@dataclass(frozen=True)
class Frames:
    """How many images of a category went to each part. name: the category's. validated: instances of the val part."""

    name: str
    counts: dict[str, int]
    validated: int


def split_by_frames(
    annotations: Path,
    out: Path,
    categories: Sequence[str] = (),
    train: float = TRAIN,
    val: float | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Frames]:
    """Write `mp100_split1_{train,val,test}.json` into the new folder `out`: each image of a category in one part.

    The parts are those of `parts.by_pictures`. Without a validation part, val = 0, no epoch can be chosen and no trial
    be scored: that is for settings that are fixed already.

    categories: names; all that have an instance if none is given. tell: hears a line for each kind of thing that isn't
    written, or is doubtful. Raises UserError where one of the categories isn't there, has too few images for the parts,
    the files contradict each other, or `out` exists.
    """
    if not 0 <= (val or 0) < train < 1:
        raise UserError(f"--train {train:g} --val {val or 0:g}: both are shares, 0 ≤ val < train < 1")
    if out.exists():
        raise UserError(f"{out} exists already: remove it or give another --out")
    gathered = gather(annotations)
    files: dict[int, set[str]] = {}
    for instance in gathered.instances.values():
        files.setdefault(instance.category_id, set()).add(picture(instance.file_name))
    ids = _chosen({gathered.categories[id].name: id for id in files}, categories)
    part_of = by_pictures({id: files[id] for id in ids.values()}, train, val)
    made = []
    for name, id in ids.items():
        counts = Counter(part_of[file] for file in files[id])
        if not all(counts[part] for part in PARTS if part != "val" or val != 0):
            raise UserError(f"{name} has {len(files[id])} images, too few for the parts; leave it out with --category")
        instances = sum(
            part_of[picture(i.file_name)] == "val" for i in gathered.instances.values() if i.category_id == id
        )
        made.append(Frames(name, {part: counts[part] for part in PARTS}, instances))
    _write(gathered, out, set(ids.values()), part_of)
    for line in (*gathered.notes, *said(noted(gathered.dropped), noted(gathered.doubts))):
        tell(line)
    return made


def _chosen(there: dict[str, int], names: Sequence[str]) -> dict[str, int]:
    unknown = [name for name in names if name not in there]
    if unknown:
        raise UserError(f"no instance of {unknown[0]!r}; there are {', '.join(sorted(there))}")
    return {name: there[name] for name in names} if names else there


def _write(gathered: Gathered, out: Path, ids: set[int], part_of: dict[str, str]) -> None:
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
                to = parts[part_of[picture(image["file_name"])]]
                to["images"].setdefault(image["id"], image)
                to["annotations"].setdefault(annotation["id"], annotation)
    with whole(out) as aside:
        for name, tables in parts.items():
            rows: dict[str, Any] = {table: list(entries.values()) for table, entries in tables.items()}
            rows["info"] = info
            (aside / f"mp100_split1_{name}.json").write_text(json.dumps(rows))
