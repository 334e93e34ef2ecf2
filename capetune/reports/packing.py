"""A pack that was made, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capetune.datasets.mp100.findings import counted, said
from capetune.datasets.mp100.parts import advice

if TYPE_CHECKING:
    from capetune.datasets.mp100.divide import Division
    from capetune.datasets.packs.manifest import Manifest


LEARNT = 70  # categories: README, Accuracy


def pack_lines(manifest: Manifest, out: str) -> list[str]:
    """What is in it, and how much of each split."""
    megabytes = sum(shard.bytes for shard in manifest.shards) / 1e6
    kind = "synthetic " if manifest.synthetic else ""
    there = len(manifest.categories) - len(manifest.missing)
    told = [
        f"{out}: {counted(manifest.instances, f'{kind}instance')} of {counted(there, 'category', 'categories')} "
        f"from {counted(manifest.images, 'image')} in {counted(len(manifest.shards), 'shard')}, {megabytes:.1f} MB"
    ]
    told += [covered.line] if (covered := manifest.coverage) else []
    for split, parts in manifest.splits.items():
        parts_said = (f"{part} {len(entry.instances)} of {entry.annotated}" for part, entry in parts.items())
        told.append(f"  split {split}: {', '.join(parts_said)}")
    return told


def division_lines(division: Division | None) -> list[str]:
    """How own data was split, what that asks of a model, and what has to be set; nothing where it wasn't."""
    if division is None:
        return []
    counts = division.categories
    if division.by == "categories":
        told = [
            f"split by categories: {counts['train']} to train on, {counts['val']} to validate, "
            f"{counts['test']} to test, which aren't seen in training"
        ]
        if counts["train"] < LEARNT:
            told.append(
                f"from about {LEARNT} categories on a model learns to place keypoints of others; `--by pictures` tests "
                "those that it was trained on"
            )
    else:
        those = "category itself is" if counts["train"] == 1 else "categories themselves are"
        told = [f"split by pictures: the {those} seen in training, no picture is in two parts"]
    advised = advice(division.validated)
    return told + ([advised] if advised else [])


def pack_warnings(manifest: Manifest) -> list[str]:
    """What of the annotations is not in it, a line a reason."""
    told = said(manifest.left_out, {})
    if manifest.missing:
        names = {entry.id: entry.name for entry in manifest.categories}
        absent = ", ".join(f"{names[id]} ({id})" for id in manifest.missing)
        told.append(f"no image at all of {counted(len(manifest.missing), 'category', 'categories')}: {absent}")
    return told
