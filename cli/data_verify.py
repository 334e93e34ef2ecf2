"""`capetune data verify`: whether a pack is what was packed."""

from __future__ import annotations

import typer

from capetune.cli import common
from capetune.errors import UserError


def command(
    data: str = typer.Argument(..., metavar="PACK", help="A pack: a folder, s3://…, gs://…, http://…, or `synthetic`."),
    as_json: bool = typer.Option(False, "--json", help="Print a JSON document, with every fault."),
) -> None:
    """Read all of a pack: its bytes against the manifest, each sample against the index, each picture decoded.

    Exit code 0 where all is as it was packed; 2 with the first fault where it isn't.

    Examples:

      capetune data verify shards

      capetune data verify s3://bucket/mp100 --json
    """
    import json
    from functools import partial

    from capetune.datasets.builtin import SYNTHETIC
    from capetune.datasets.mp100.findings import counted
    from capetune.datasets.packs.verify import verify
    from capetune.reports.progress import progress_bar

    address = common.open_data(data).address if data == SYNTHETIC else data
    with progress_bar() as bar:
        found = verify(address, partial(bar, "reading samples"))
    if as_json:
        print(json.dumps(found.to_json(), indent=2))
    if found.faults:
        raise UserError(found.line)
    if not as_json:
        read = f"{counted(found.shards, 'shard')}, {counted(found.samples, 'sample')}"
        common.say(f"{found.pack}: {read}, all as they were packed")
