"""A pack that was made, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capetune.datasets.mp100.findings import counted, said

if TYPE_CHECKING:
    from capetune.datasets.packs.manifest import Manifest


def pack_lines(manifest: Manifest, out: str) -> list[str]:
    """What is in it, and how much of each split."""
    megabytes = sum(shard.bytes for shard in manifest.shards) / 1e6
    kind = "synthetic " if manifest.synthetic else ""
    told = [
        f"{out}: {manifest.instances} {kind}instances of {len(manifest.categories) - len(manifest.missing)} categories "
        f"from {manifest.images} images in {len(manifest.shards)} shards, {megabytes:.1f} MB"
    ]
    for split, parts in manifest.splits.items():
        parts_said = (f"{part} {len(entry.instances)} of {entry.annotated}" for part, entry in parts.items())
        told.append(f"  split {split}: {', '.join(parts_said)}")
    return told


def pack_warnings(manifest: Manifest) -> list[str]:
    """What of the annotations is not in it, a line a reason."""
    told = said(manifest.left_out, {})
    if manifest.missing:
        names = {entry.id: entry.name for entry in manifest.categories}
        absent = ", ".join(f"{names[id]} ({id})" for id in manifest.missing)
        told.append(f"no image at all of {counted(len(manifest.missing), 'category', 'categories')}: {absent}")
    return told
