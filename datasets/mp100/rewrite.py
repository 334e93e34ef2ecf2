"""Annotation files of split 1 anew, out of those of a folder: what `frames` and `categories` share."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from capetune.datasets.mp100.files import OWN
from capetune.datasets.mp100.format import load_json
from capetune.datasets.mp100.gather import Gathered
from capetune.errors import UserError
from capetune.pose import PARTS
from capetune.storage.whole import whole


def chosen(gathered: Gathered, names: Sequence[str]) -> dict[int, str]:
    """The names of the categories asked for, by id; of all that have an instance if none is. Two may share a name.
    Raises UserError where one has no instance."""
    used = dict.fromkeys(instance.category_id for instance in gathered.instances.values())
    there = {id: gathered.categories[id].name for id in used}
    unknown = [name for name in names if name not in there.values()]
    if unknown:
        raise UserError(f"no instance of {unknown[0]!r}; there are {', '.join(sorted(there.values()))}")
    return {id: name for wanted in names for id, name in there.items() if name == wanted} if names else there


def rewrite(
    gathered: Gathered, out: Path, listed: Mapping[str, Collection[int]], part_of: Callable[[int, str], str]
) -> None:
    """Write `mp100_split1_{train,val,test}.json` into the new folder `out`.

    Each instance's annotation is copied to its part, once, as the file has it that names it first. listed: ids of the
    categories of each part. part_of: from the id of a category of these and the file name of an image to the part.
    """
    ids = {id for part in listed.values() for id in part}
    parts: dict[str, dict[str, Any]] = {part: {"images": {}, "annotations": {}, "categories": {}} for part in PARTS}
    info: dict[str, Any] = {}  # says where data are synthetic
    for reading in gathered.readings.values():
        tree = load_json(reading.path)
        info = {**(tree["info"] if isinstance(tree.get("info"), dict) else {}), **info}
        images = {image["id"]: image for image in tree["images"]}
        used = {(one.id, one.image_id) for group in reading.part.instances.values() for one in group}
        for name, part in parts.items():
            for category in tree["categories"]:
                if category["id"] in listed[name]:
                    part["categories"].setdefault(category["id"], category)
        for annotation in tree["annotations"]:
            if (annotation["id"], annotation["image_id"]) in used and annotation["category_id"] in ids:
                image = images[annotation["image_id"]]
                to = parts[part_of(annotation["category_id"], image["file_name"])]
                to["images"].setdefault(image["id"], image)
                to["annotations"].setdefault(annotation["id"], annotation)
    with whole(out) as aside:
        for name, tables in parts.items():
            rows: dict[str, Any] = {table: list(entries.values()) for table, entries in tables.items()}
            rows["info"] = {**info, **OWN}
            (aside / f"mp100_split1_{name}.json").write_text(json.dumps(rows))
