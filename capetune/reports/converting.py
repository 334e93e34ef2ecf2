"""Labels of a tool that were made a COCO file, in words."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from capetune.datasets.mp100.findings import counted, listed

if TYPE_CHECKING:
    from capetune.datasets.labels.convert import Converted


def converted_lines(made: Converted) -> list[str]:
    """What is in it, a line a category, and how it is packed."""
    guessed = ", as its looks say" if made.guessed else ""
    total = sum(made.objects.values())
    told = [
        f"{made.file}: {counted(total, 'instance')} of {counted(len(made.objects), 'category', 'categories')} in "
        f"{counted(made.pictures, 'picture')}, from {made.format}{guessed}"
    ]
    for name, skeleton in made.skeletons.items():
        counts = counted(len(skeleton.names), "keypoint"), counted(len(skeleton.edges), "edge")
        told.append(f"  {name}: {counts[0]}, {counts[1]}, {counted(made.objects[name], 'instance')}")
    command = ["capetune", "data", "pack", "--coco", str(made.file), "--images", str(made.images), "--out", "shards"]
    return [*told, shlex.join(command)]


def converted_warnings(made: Converted) -> list[str]:
    """What was assumed, what is lost, a line a reason, and which pictures aren't there."""
    told = list(made.notes)
    told += [
        f"lost: {what}: {len(places)}: {listed(list(dict.fromkeys(places)))}" for what, places in made.lost.items()
    ]
    bare = [name for name, skeleton in made.skeletons.items() if not skeleton.edges]
    if bare:
        which = f"no skeleton for {listed(bare)}"
        told.append(f"{which}: a model sees keypoints without edges; write pairs into {made.file.name}'s 'skeleton'")
    if made.shared:
        count = counted(len(made.shared), "picture stands", "pictures stand")
        told.append(f"doubtful: {count} in several places, one file is taken for it: {listed(list(made.shared))}")
    if made.absent:
        count = counted(len(made.absent), "picture")
        told.append(f"{count} not below {made.images}: {listed(list(made.absent))}; give --images, their folder")
    return told
