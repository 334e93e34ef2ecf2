"""`capetune data pack`: annotations and images into the shards that training and evaluation read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from capetune.cli import common
from capetune.errors import UserError

if TYPE_CHECKING:
    from capetune.datasets.packs.writer import Spread


class By(StrEnum):
    categories = "categories"
    pictures = "pictures"


def command(
    annotations: Path | None = typer.Option(
        None, "--annotations", metavar="DIR", help="Folder of mp100_split*_*.json[.gz]."
    ),
    coco: list[Path] = typer.Option(
        [], "--coco", metavar="FILE", help="In place of it: what an annotation tool exports; may be repeated."
    ),
    images: Path = typer.Option(..., "--images", metavar="DIR", help="Folder that the images' names start from."),
    out: str = typer.Option(..., "--out", metavar="PLACE", help="Folder or s3://, gs:// to make; must not exist."),
    size: int = typer.Option(512, min=32, max=2048, help="Largest input, in pixels, that the crops are to serve."),
    shards: int | None = typer.Option(
        None, help="At least the loader processes of all training workers; about one a 1000 instances if not given."
    ),
    by: By | None = typer.Option(
        None, "--by", help="With --coco: test other categories, or other pictures of the same; default: as fits."
    ),
    address: str | None = typer.Option(
        None,
        "--address",
        envvar="RAY_ADDRESS",
        help="A running Ray cluster, all machines of which cut; default: this one.",
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

      capetune data pack --coco exported.json --images pictures --out shards

      capetune data pack --annotations data/annotations --images /shared/images --out shards --address auto
    """
    from contextlib import ExitStack
    from functools import partial

    from capetune.datasets.mp100.divide import divide
    from capetune.datasets.packs.writer import pack
    from capetune.reports.packing import division_lines, pack_lines, pack_warnings
    from capetune.reports.progress import progress_bar

    if (annotations is None) == (not coco):
        raise UserError("give one of --annotations DIR, MP-100's files, and --coco FILE, of an annotation tool")
    if by is not None and not coco:
        raise UserError("--by is for --coco: MP-100's files say what trains and what tests")
    read, division = (annotations, None) if annotations else divide(coco, images, by.value if by else None)
    doubts: list[str] = []
    with ExitStack() as ends:
        spread = ends.enter_context(_machines(address)) if address else None
        progress = partial(ends.enter_context(progress_bar()), "packing images")
        manifest = pack(
            read, images, out, shards, size, strict=strict, progress=progress, tell=doubts.append, spread=spread
        )
    common.say(*pack_lines(manifest, out), *division_lines(division))
    common.warn(*pack_warnings(manifest), *doubts)


@contextmanager
def _machines(address: str) -> Iterator[Spread]:
    """What spreads work over the machines of a cluster; what it is waited for is said on stderr."""
    from capetune.reports.screen import Screen
    from capetune.service.steps import ray_joined

    with Screen(common.console(err=True)) as screen:
        again = "give the same command again"
        with ray_joined(address, False, screen.hear, "capetune data pack", again):
            from capetune.cluster.spread import spread

            yield spread
