"""`capetune data check`: what of MP-100 is there, what is missing, what is odd."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDE = 160  # columns where the output is a file or a pipe: a table folded to 80 can't be read


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
    import sys

    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from capetune.datasets.mp100.check import check

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("images"))
    silent = images is None or not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=silent) as bar:
        task = bar.add_task("reading", total=None)
        checkup = check(annotations, images, lambda done, total: bar.update(task, completed=done, total=total))
    if as_json:
        typer.echo(json.dumps(checkup.to_json(), indent=2, ensure_ascii=False))
        return
    _print(checkup, images, Console(width=None if sys.stdout.isatty() else WIDE))


def _table(checkup: Any) -> Table:  # a Checkup; its module is not light enough for the top
    from rich.table import Table

    looked = checkup.images is not None
    table = Table(title="MP-100 by source and category")
    for title in ("source", "id", "name → folder", "in"):
        table.add_column(title)
    for title in ("instances", *(("images", "missing", "unreadable") if looked else ()), "K", "edges"):
        table.add_column(title, justify="right")
    table.add_column("quirks and dropped annotations", ratio=1)
    last = None
    for row in checkup.categories:
        graph, name, folder = row.category.graph, row.category.name, row.category.folder
        notes = [*row.quirks.items(), *((f"dropped: {why}", n) for why, n in row.dropped.items())]
        table.add_row(
            "" if row.source == last else row.source,
            str(row.category.id),
            name if name == folder else f"{name} → {folder}",
            _parts(row.parts),
            str(row.instances),
            *([str(n) for n in vars(row.images).values()] if looked else []),
            str(graph.size),
            "–" if row.base is None else f"{len(graph.edges)} ({row.base}-based)",
            " · ".join(why if n == 1 else f"{why} ×{n}" for why, n in notes),
        )
        last = row.source
    return table


def _parts(keys: tuple[tuple[int, str], ...]) -> str:
    """((1, "test"), (2, "train"), (3, "train")) → "train 2,3 test 1"."""
    splits = {part: [str(s) for s, p in keys if p == part] for part in ("train", "val", "test")}
    return " ".join(f"{part} {','.join(found)}" for part, found in splits.items() if found) or "–"


def _print(checkup: Any, images: Path | None, console: Console) -> None:
    facts = checkup.to_json()
    totals = facts["totals"]
    console.print(_table(checkup))
    line = f"{totals['recovered']} of {totals['of']} categories"
    if totals["others"]:
        line += f", and {totals['others']} that are not in MP-100"
    line += f"; {totals['instances']} instances in {len(checkup.files)} files; data: {facts['data']}"
    lines = [line]
    if totals["dropped"]:
        lines.append(f"{totals['dropped']} annotations dropped, by the official rule or because they can't be used")
    if checkup.images is not None:
        found = checkup.images
        lines.append(f"images: {found.found} found, {found.missing} missing, {found.unreadable} unreadable")
        if images is not None and not found.found and (images / "images").is_dir():
            lines.append(f"no image was found; did you mean --images {images / 'images'}?")
        for word, names in (("missing", checkup.lost), ("unreadable", checkup.broken)):
            if names:
                more = f" and {len(names) - 3} more (--json names them all)" if len(names) > 3 else ""
                lines.append(f"{word}: {', '.join(names[:3])}{more}")
    if checkup.empty:
        lines.append("listed but empty: " + ", ".join(f"{c.name} ({c.id})" for c in checkup.empty))
    if checkup.missing:
        lines.append(f"{len(checkup.missing)} categories of MP-100 are missing:")
    for source, why in dict.fromkeys((entry.source, entry.why) for entry in checkup.missing):
        names = [f"{e.name} ({e.id})" for e in checkup.missing if (e.source, e.why) == (source, why)]
        lines.append(f"  {source}, {why}: {', '.join(names)}")
    for split, ids in checkup.leaks:
        lines.append(f"split {split}: categories in more than one part, which the protocol forbids: {ids}")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
