"""`capetune data pack`: annotations and images into the shards that training and evaluation read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

NAMED = 3  # files named of each reason; the manifest names them all


def command(
    annotations: Path = typer.Option(..., "--annotations", metavar="DIR", help="Folder of mp100_split*_*.json[.gz]."),
    images: Path = typer.Option(..., "--images", metavar="DIR", help="Folder above the image folders."),
    out: Path = typer.Option(..., "--out", metavar="SHARDS", help="Folder to make; must not exist."),
    size: int = typer.Option(512, min=32, max=2048, help="Largest input, in pixels, that the crops are to serve."),
    shards: int | None = typer.Option(
        None, help="At least the loader processes of all training workers; about one a 1000 instances if not given."
    ),
    strict: bool = typer.Option(False, "--strict", help="Refuse where an image is missing or unusable."),
) -> None:
    """Pack the images once, for all splits and parts: no instance is stored twice.

    Images that are missing, unreadable or of another size than annotated are left out and named in manifest.json.

    Examples:

      capetune data pack --annotations data/annotations --images data/images --out shards

      capetune data pack --annotations data/annotations --images data/images --out shards256 --size 256 --shards 64
    """
    import sys

    from capetune.datasets.packs.writer import pack

    manifest = pack(annotations, images, out, shards, size, strict=strict, progress=sys.stderr.isatty())
    _print(manifest, out)


def _print(manifest: Any, out: Path) -> None:  # a Manifest; its module is not light enough for the top
    megabytes = sum(shard.bytes for shard in manifest.shards) / 1e6
    kind = "synthetic " if manifest.synthetic else ""
    typer.echo(
        f"{out}: {manifest.instances} {kind}instances of {len(manifest.categories) - len(manifest.missing)} categories "
        f"from {manifest.images} images in {len(manifest.shards)} shards, {megabytes:.1f} MB"
    )
    for split, parts in manifest.splits.items():
        parts_said = (f"{part} {len(entry.instances)} of {entry.annotated}" for part, entry in parts.items())
        typer.echo(f"  split {split}: {', '.join(parts_said)}")
    for reason, entry in manifest.left_out.items():
        more = f" and {len(entry.files) - NAMED} more" if len(entry.files) > NAMED else ""
        named = ", ".join(entry.files[:NAMED]) + more
        counts = f"{_counted(len(entry.files), 'image')} with {_counted(entry.instances, 'instance')}"
        typer.echo(f"warning: {reason}: {counts}: {named}", err=True)
    if manifest.missing:
        names = {entry.id: entry.name for entry in manifest.categories}
        absent = ", ".join(f"{names[id]} ({id})" for id in manifest.missing)
        kinds = _counted(len(manifest.missing), "category", "categories")
        typer.echo(f"warning: no image at all of {kinds}: {absent}", err=True)


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
