"""What of MP-100 is there, as a table and in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from capetune.datasets.mp100.findings import NAMED, counted, said

if TYPE_CHECKING:
    from pathlib import Path

    from capetune.datasets.mp100.check import Checkup


def check_table(checkup: Checkup) -> Table:
    """A row a category, by source."""
    looked = checkup.images is not None
    table = Table(title="MP-100 by source and category")
    for title in ("source", "id", "name → folder", "in"):
        table.add_column(title)
    for title in ("instances", *(("images", "missing", "unreadable", "unfit") if looked else ()), "K", "edges"):
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


def check_lines(checkup: Checkup, images: Path | None) -> list[str]:
    """What belongs under the table. images: the folder that was looked at."""
    facts = checkup.to_json()
    totals = facts["totals"]
    line = f"{totals['recovered']} of {totals['of']} categories"
    if totals["others"]:
        line += f", and {totals['others']} that are not in MP-100"
    line += f"; {totals['instances']} instances in {len(checkup.files)} files; data: {facts['data']}"
    lines = [line]
    if totals["dropped"]:
        dropped = counted(totals["dropped"], "annotation")
        lines.append(f"{dropped} dropped, by the official rule or because they can't be used")
    if checkup.images is not None:
        found = checkup.images
        unfit = f", {found.unfit} unfit" if found.unfit else ""
        lines.append(f"images: {found.found} found, {found.missing} missing, {found.unreadable} unreadable{unfit}")
        if any(row.official and row.images and row.images.missing for row in checkup.categories):
            lines.append("`capetune data doctor` looks for missing images in the downloads, and says where to get them")
        if images is not None and not found.found and (images / "images").is_dir():
            lines.append(f"no image was found; did you mean --images {images / 'images'}?")
    refusals = [f"a pack is refused: {contradiction}" for contradiction in checkup.contradictions]
    if more := refusals[NAMED:]:
        refusals[NAMED:] = [f"a pack is refused for {counted(len(more), 'reason')} more (--json has them all)"]
    lines += refusals
    lines += [*checkup.unread, *said(checkup.left_out, checkup.doubtful)]
    if checkup.empty:
        lines.append("listed but empty: " + ", ".join(f"{c.name} ({c.id})" for c in checkup.empty))
    missing = checkup.missing if totals["recovered"] else ()  # of another data set a hundred names say nothing
    if missing:
        lines.append(f"{len(missing)} categories of MP-100 are missing:")
    for source, why in dict.fromkeys((entry.source, entry.why) for entry in missing):
        these = [f"{e.name} ({e.id})" for e in missing if (e.source, e.why) == (source, why)]
        lines.append(f"  {source}, {why}: {', '.join(these)}")
    for split, ids in checkup.leaks:
        lines.append(f"split {split}: categories in more than one part, which the protocol forbids: {ids}")
    return lines
