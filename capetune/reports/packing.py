"""A pack that was made, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capetune.datasets.packs.manifest import Manifest

NAMED = 3  # files named of each reason; the manifest names them all


def pack_lines(manifest: Manifest, out: str) -> list[str]:
    """What is in it, and how much of each split."""
    megabytes = sum(shard.bytes for shard in manifest.shards) / 1e6
    kind = "synthetic " if manifest.synthetic else ""
    lines = [
        f"{out}: {manifest.instances} {kind}instances of {len(manifest.categories) - len(manifest.missing)} categories "
        f"from {manifest.images} images in {len(manifest.shards)} shards, {megabytes:.1f} MB"
    ]
    for split, parts in manifest.splits.items():
        parts_said = (f"{part} {len(entry.instances)} of {entry.annotated}" for part, entry in parts.items())
        lines.append(f"  split {split}: {', '.join(parts_said)}")
    return lines


def pack_warnings(manifest: Manifest) -> list[str]:
    """What of the annotations is not in it, a line a reason."""
    lines = []
    for reason, entry in manifest.left_out.items():
        more = f" and {len(entry.files) - NAMED} more" if len(entry.files) > NAMED else ""
        named = ", ".join(entry.files[:NAMED]) + more
        counts = f"{_counted(len(entry.files), 'image')} with {_counted(entry.instances, 'instance')}"
        lines.append(f"{reason}: {counts}: {named}")
    if manifest.missing:
        names = {entry.id: entry.name for entry in manifest.categories}
        absent = ", ".join(f"{names[id]} ({id})" for id in manifest.missing)
        lines.append(f"no image at all of {_counted(len(manifest.missing), 'category', 'categories')}: {absent}")
    return lines


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
