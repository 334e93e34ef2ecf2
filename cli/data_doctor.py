"""`capetune data doctor`: where MP-100's pictures lie, what is wrong with the others, and their official layout."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common
from capetune.errors import UserError

WIDE = 160  # as `data check` has it


def command(
    annotations: Path = typer.Option(..., "--annotations", metavar="DIR", help="Folder of mp100_split*_*.json[.gz]."),
    images: Path = typer.Option(..., "--images", metavar="DIR", help="Folder of the images, or of all downloads."),
    source: list[str] = typer.Option(
        [], "--source", metavar="NAME=PATH", help="Where a source's download lies, such as AP-10K; may be repeated."
    ),
    link: Path | None = typer.Option(
        None, "--link", metavar="DIR", help="Lay the found images there as MP-100's annotations name them."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="With --link: say what would be laid, write nothing."),
    as_json: bool = typer.Option(False, "--json", help="Print a JSON document instead of the table."),
) -> None:
    """Find the images of MP-100's annotations in the downloads they come from, whatever these look like.

    By path, by name and place in the source's layout, by size, and for CarFusion and DeepPoseKit by the source's own
    labels. --link makes hard links where DIR is on the same disk, else symbolic ones, else copies; frames inside an .h5
    are written out. It never overwrites; killed, the same command goes on. Exit code 0 also where images are missing:
    they are reported. 2 where a folder isn't what it should be.

    Examples:

      capetune data doctor --annotations data/annotations --images downloads

      capetune data doctor --annotations data/annotations --images data/images --source AP-10K=downloads/ap-10k

      capetune data doctor --annotations data/annotations --images downloads --link data/images --dry-run
    """
    import json
    from functools import partial

    from capetune.datasets.mp100 import layout
    from capetune.datasets.mp100.doctor import examine
    from capetune.datasets.mp100.recipes import named_sources
    from capetune.reports.doctor import doctor_json, doctor_lines, doctor_table, dry_lines, link_lines
    from capetune.reports.progress import progress_bar

    if dry_run and link is None:
        raise UserError("--dry-run is for --link DIR: without it nothing is written anyway")
    sources = named_sources(source)
    with progress_bar() as bar:
        diagnosis = examine(annotations, images, sources, bar)
        if link is not None and not diagnosis.where:
            raise UserError(f"no image was found in {images}: there is nothing to lay into {link}; give --source")
        left = layout.left_to_link(diagnosis.where, link) if link is not None and dry_run else None
        linked = None
        if link is not None and left is None:
            linked = layout.link(diagnosis.where, link, partial(bar, "laying images"))
    if as_json:
        tree = doctor_json(diagnosis)
        if link is not None:
            tree["link"] = linked.to_json() if linked else {"would": len(left or {})}
        print(json.dumps(tree, indent=2))
        return
    console = common.console(columns=WIDE)
    console.print(doctor_table(diagnosis))
    lines = doctor_lines(diagnosis)
    if link is not None:
        lines = lines[:-1]
        lines += link_lines(linked, link, diagnosis) if linked else dry_lines(left or {}, link, len(diagnosis.where))
    console.print("\n".join(lines), soft_wrap=True)
