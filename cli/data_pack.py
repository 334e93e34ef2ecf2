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
    strict: bool = typer.Option(False, "--strict", help="Refuse where an annotation or image would be left out."),
) -> None:
    """Pack the images once, for all splits and parts: no instance is stored twice.

    Annotations that can't be used, and images that are missing, unreadable or of another size than annotated, are left
    out: counted here by reason, and named in manifest.json. What is packed but may be wrong is said too.

    Examples:

      capetune data pack --annotations data/annotations --images data/images --out shards

      capetune data pack --annotations data/annotations --images data/images --out shards256 --size 256 --shards 64

      capetune data pack --annotations data/annotations --images data/images --out s3://bucket/mp100
    """
    from functools import partial

    from capetune.datasets.packs.writer import pack
    from capetune.reports.packing import pack_lines, pack_warnings
    from capetune.reports.progress import progress_bar

    doubts: list[str] = []
    with progress_bar() as bar:
        progress = partial(bar, "packing images")
        manifest = pack(annotations, images, out, shards, size, strict=strict, progress=progress, tell=doubts.append)
    common.console().print("\n".join(pack_lines(manifest, out)), soft_wrap=True)
    common.warn(*pack_warnings(manifest), *doubts)
