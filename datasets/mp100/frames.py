"""Split video frames in time: train on the first ones of each category, test on the last, categories known.

MP-100's own splits ask about categories never seen. This asks how well poses are read off categories that were, which
is what somebody with a labelled video wants to know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from capetune.datasets.mp100.findings import noted, said
from capetune.datasets.mp100.gather import gather
from capetune.datasets.mp100.parts import TRAIN, by_pictures, picture
from capetune.datasets.mp100.rewrite import chosen, rewrite
from capetune.errors import UserError
from capetune.pose import PARTS


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
    ids = chosen(gathered, categories)
    part_of = by_pictures({id: files[id] for id in ids}, train, val)
    made = []
    for id, name in ids.items():
        counts = Counter(part_of[file] for file in files[id])
        if not all(counts[part] for part in PARTS if part != "val" or val != 0):
            raise UserError(f"{name} has {len(files[id])} images, too few for the parts; leave it out with --category")
        instances = sum(
            part_of[picture(i.file_name)] == "val" for i in gathered.instances.values() if i.category_id == id
        )
        made.append(Frames(name, {part: counts[part] for part in PARTS}, instances))
    rewrite(gathered, out, dict.fromkeys(PARTS, ids), lambda id, file: part_of[picture(file)])
    for line in (*gathered.notes, *said(noted(gathered.dropped), noted(gathered.doubts))):
        tell(line)
    return made
