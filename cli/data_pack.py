"""`capetune data pack`: annotations and images into the shards that training and evaluation read."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common


def command(
    annotations: Path = typer.Option(..., "--annotations", metavar="DIR", help="Folder of mp100_split*_*.json[.gz]."),
    images: Path = typer.Option(..., "--images", metavar="DIR", help="Folder above the image folders."),
    out: str = typer.Option(..., "--out", metavar="PLACE", help="Folder or s3://, gs:// to make; must not exist."),
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

      capetune data pack --annotations data/annotations --images data/images --out s3://bucket/mp100
    """
    from functools import partial

    from capetune.datasets.packs.writer import pack
    from capetune.reports.packing import pack_lines, pack_warnings
    from capetune.reports.progress import progress_bar

    with progress_bar() as bar:
        manifest = pack(annotations, images, out, shards, size, strict=strict, progress=partial(bar, "packing images"))
    common.console().print("\n".join(pack_lines(manifest, out)), soft_wrap=True)
    for line in pack_warnings(manifest):
        common.console(err=True).print(f"warning: {line}", soft_wrap=True)
