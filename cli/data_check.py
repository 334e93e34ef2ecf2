"""`capetune data check`: what of MP-100 is there, what is missing, what is odd."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common

WIDE = 160  # columns where the output is a file or a pipe: a narrower table can't be read


def command(
    annotations: Path = typer.Option(..., "--annotations", metavar="DIR", help="Folder of mp100_split*_*.json[.gz]."),
    images: Path | None = typer.Option(
        None, "--images", metavar="DIR", help="Folder of the images; each one is decoded. Left out: not looked at."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print a JSON document instead of the table."),
) -> None:
    """Say which categories of MP-100 you have, by source data set, and what is missing, unreadable or odd.

    Exit code 0 also where images are missing: they are reported. 2 where a folder isn't MP-100's.

    Examples:

      capetune data check --annotations data/annotations

      capetune data check --annotations data/annotations --images data/images --json > check.json
    """
    import json
    from functools import partial

    from capetune.datasets.mp100.check import check
    from capetune.reports.check import check_lines, check_table
    from capetune.reports.progress import progress_bar

    with progress_bar() as bar:
        checkup = check(annotations, images, partial(bar, "reading images"))
    if as_json:
        print(json.dumps(checkup.to_json(), indent=2))
        return
    console = common.console(columns=WIDE)
    console.print(check_table(checkup))
    console.print("\n".join(check_lines(checkup, images)), soft_wrap=True)
