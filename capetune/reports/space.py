"""A search space in words: its ranges, their sizes, and how it is searched."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from capetune.tuning.space import LISTED, describe, never_stops, size

if TYPE_CHECKING:
    from pathlib import Path

    from capetune.config import Config
    from capetune.tuning.space import Space


def spaces_table(files: Iterable[Path]) -> Table:
    """Each built-in space with what its file says of itself in its first line."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("space", no_wrap=True)
    table.add_column("what for")
    for file in files:
        table.add_row(file.stem, file.read_text(encoding="utf-8").splitlines()[0].removeprefix("# "))
    return table


def space_rows(space: Space, config: Config) -> list[dict[str, Any]]:
    """One for each key: its range in words, how many values, None where they are continuous, the value that `config`
    has, None where it doesn't apply, and when it does."""
    default = space.default(config)
    return [
        {
            "key": key,
            "range": describe(parameter.distribution),
            "values": size(parameter.distribution),
            "default": default.get(key),
            "when": {other: list(values) for other, values in parameter.when.items()},
        }
        for key, parameter in space.parameters.items()
    ]


def space_table(space: Space, rows: Iterable[dict[str, Any]]) -> Table:
    """rows: as `space_rows` has them."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", title=str(space.source))
    table.title_justify = "left"
    for name in ("key", "range", "values", "default", "when"):
        table.add_column(name, justify="right" if name == "values" else "left", overflow="fold")
    for row in rows:
        when = ", ".join(f"{key} = {' or '.join(map(str, values))}" for key, values in row["when"].items())
        count = "∞" if row["values"] is None else str(row["values"])
        table.add_row(row["key"], row["range"], count, "–" if row["default"] is None else str(row["default"]), when)
    return table


def space_lines(space: Space, config: Config, rows: Sequence[dict[str, Any]], base: str) -> list[str]:
    """What belongs under the table. base: in words, the configuration that the space was checked against."""
    header, scheduler = space.header, space.header.scheduler
    sizes = [row["values"] for row in rows]
    many = "infinitely many" if None in sizes else f"at most {math.prod(sizes)}"
    if header.sampler in LISTED:
        many = str(len(space.points(config)))
    goals = " and ".join(f"{metric} ({mode})" for metric, mode in zip(header.metric, header.mode, strict=True))
    stops = f"{scheduler.name}, grace {scheduler.grace}, factor {scheduler.factor}"
    if scheduler.name == "none":
        stops = "none"
    budget = {name: value for name, value in header.budget if value is not None}
    warning = never_stops(space, config)
    return [
        f"{many} configurations; goal {goals}; sampler {header.sampler}; scheduler {stops}",
        *([] if warning is None else [f"warning: {warning}"]),
        f"checked against {base}, whose values are the default",
        f"budget: {', '.join(f'{value:g} {name}' for name, value in budget.items()) or 'as the command says'}; "
        f"{len(header.points)} points tried first, after the default",
    ]
