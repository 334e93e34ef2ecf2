"""Which of MP-100's pictures there are and how to get the others, as a table and in words."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from rich.table import Table

from capetune.datasets.mp100.finder import AMBIGUOUS
from capetune.datasets.mp100.findings import counted, noted, said
from capetune.datasets.mp100.recipes import recipes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from capetune.datasets.mp100.doctor import Diagnosis
    from capetune.datasets.mp100.finder import Where
    from capetune.datasets.mp100.layout import Linked

COLUMNS = ("in place", "elsewhere", "missing", "ambiguous", "wrong size", "unreadable", "unfit")
SHOWN = 3  # links of a dry run


def doctor_table(diagnosis: Diagnosis) -> Table:
    """A row a category, by source."""
    table = Table(title="MP-100's pictures by source and category")
    for title in ("source", "id", "name → folder"):
        table.add_column(title)
    for title in COLUMNS:
        table.add_column(title, justify="right")
    last = None
    for row in diagnosis.categories:
        name = row.name if row.name == row.folder else f"{row.name} → {row.folder}"
        counts = [str(count) if count else "" for count in vars(row.pictures).values()]
        table.add_row("" if row.source == last else row.source, str(row.id), name, *counts)
        last = row.source
    return table


def doctor_lines(diagnosis: Diagnosis) -> list[str]:
    """What belongs under the table: sums, faults, what each source lacks, and the command that cures most."""
    counts = zip(COLUMNS, vars(diagnosis.total).values(), strict=True)
    coverage = diagnosis.coverage
    lines = [coverage.line] if coverage else []
    lines += ["images: " + ", ".join(f"{n} {what}" for i, (what, n) in enumerate(counts) if n or i < 3)]
    lines += [*diagnosis.notes, *said(noted(diagnosis.faults), noted(diagnosis.doubts))]
    own = {row.id for row in diagnosis.categories if row.source == "other"}
    unsure = (fault.file for fault in diagnosis.faults if fault.reason == AMBIGUOUS and fault.category in own)
    for folder in sorted({file.split("/")[0] for file in unsure if file and "/" in file}):
        lines.append(f"{folder} is of none of MP-100's sources: if those are its pictures, call their folder {folder}")
    for source, count in diagnosis.lacks().items():
        recipe = recipes()[source]
        given = diagnosis.sources.get(source)
        where = f"not in {given}" if given else f"get {recipe.get}"
        lines.append(f"{source} lacks {counted(count, 'image')}: {where}; {recipe.page}")
        lines.append(f"  unpacked: {recipe.layout}; licence: {recipe.licence}")
        lines += [f"  beware: {trap}" for trap in recipe.traps]
    return [*lines, f"next: {cure(diagnosis)}"]


def cure(diagnosis: Diagnosis) -> str:
    """The one command that cures most, and how much."""
    total = diagnosis.total
    asked = {source: n for source, n in diagnosis.lacks().items() if source not in diagnosis.sources}
    source, lacking = next(iter(asked.items()), ("", 0))
    command = ["capetune", "data", "doctor", "--annotations", str(diagnosis.annotations)]
    command += ["--images", str(diagnosis.images)]
    for name, path in diagnosis.sources.items():
        command += ["--source", f"{name}={path}"]
    if lacking > total.elsewhere:
        here = [*command, "--source", f"{source}=PATH"]
        return f"{shlex.join(here)}  # {counted(lacking, 'image')}, PATH being where {source} was unpacked"
    if total.elsewhere:
        return f"{shlex.join([*command, '--link', 'DIR'])}  # {counted(total.elsewhere, 'image')}, DIR a new folder"
    if not total.in_place:
        return f"give --images or --source NAME=PATH a folder of the downloads: {diagnosis.images} holds no image"
    pack = ["capetune", "data", "pack", *command[3:7], "--out", "shards"]
    return f"{shlex.join(pack)}  # {counted(total.in_place, 'image')}"


def link_lines(linked: Linked, out: Path, diagnosis: Diagnosis) -> list[str]:
    """What was laid where, by which means, and what to do with it."""
    done = [
        counted(linked.hard, "hard link"),
        counted(linked.symbolic, "symbolic link"),
        counted(linked.copied, "copy", "copies"),
        counted(linked.written, "frame written out of an .h5", "frames written out of an .h5"),
        f"{linked.there} there already",
    ]
    pack = ["capetune", "data", "pack", "--annotations", str(diagnosis.annotations), "--images", str(out)]
    lines = [f"{out}: {', '.join(words for words in done if not words.startswith('0 '))}"]
    return [*lines, f"next: {shlex.join([*pack, '--out', 'shards'])}"]


def dry_lines(left: Mapping[str, Where], out: Path, all_of: int) -> list[str]:
    """What would be laid where."""
    lines = [f"  {out / name} ← {place}" for name, place in list(left.items())[:SHOWN]]
    more = [f"  and {len(left) - SHOWN} more"] if len(left) > SHOWN else []
    there = f", {all_of - len(left)} are there" if all_of > len(left) else ""
    return [f"{out}: {counted(len(left), 'image')} would be laid there{there}; nothing was written", *lines, *more]


def doctor_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Plain JSON types."""
    coverage = diagnosis.coverage
    return {
        "mp100": coverage and coverage.to_json(),
        "totals": vars(diagnosis.total),
        "categories": [{**vars(row), "pictures": vars(row.pictures)} for row in diagnosis.categories],
        "faults": {reason: entry.to_json() for reason, entry in noted(diagnosis.faults).items()},
        "doubtful": {reason: entry.to_json() for reason, entry in noted(diagnosis.doubts).items()},
        "notes": list(diagnosis.notes),
        "where": {name: str(place) for name, place in diagnosis.where.items()},
        "lacks": {
            source: {"images": count, **recipes()[source].model_dump(mode="json", include={"page", "get", "licence"})}
            for source, count in diagnosis.lacks().items()
        },
        "next": cure(diagnosis),
    }
