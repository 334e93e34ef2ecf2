"""`capetune data stats`: a pack in numbers."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common
from capetune.errors import UserError

WIDE = 160  # columns where the output is a file or a pipe


def command(
    data: str = typer.Argument(..., metavar="PACK", help="A pack: a folder, s3://…, gs://…, http://…, or `synthetic`."),
    out: Path | None = typer.Option(None, "--out", metavar="PNG", help="Draw a figure of it, too."),
    as_json: bool = typer.Option(False, "--json", help="Print a JSON document instead of the table."),
) -> None:
    """Say by category how many instances there are, how large, how visible, and which pictures look alike.

    Near-duplicates between pictures that can be support and query make an episode easy; between training and test they
    make a score flattering. Every crop is read.

    Examples:

      capetune data stats shards

      capetune data stats shards --out stats.png --json > stats.json
    """
    import json
    from functools import partial

    from capetune.datasets.packs.stats import pack_stats
    from capetune.reports.progress import progress_bar
    from capetune.reports.stats import stats_figure, stats_lines, stats_table
    from capetune.storage.whole import write_aside

    if out is not None and out.suffix.lower() != ".png":
        raise UserError(f"the figure is a PNG: call {out.name} something.png")
    pack = common.open_data(data)
    with progress_bar() as bar:
        stats = pack_stats(pack, partial(bar, "reading crops"))
    if out is not None:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            write_aside(out, stats_figure(stats))
        except OSError as error:
            raise UserError(f"can't write {out}: {error.strerror or error}") from None
    if as_json:
        print(json.dumps(stats.to_json(), indent=2))
        return
    common.console(columns=WIDE).print(stats_table(stats))
    common.say(*stats_lines(stats))
