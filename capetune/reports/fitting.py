"""A table where there is room for it, else a few lines a row: no word of it is ever cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Fitting:
    """names: of the columns. rows: their cells. Narrow, a row's first two cells are a line, and the others that say
    something the next, each behind its name."""

    names: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=None, pad_edge=False)
        for name in self.names:
            table.add_column(name, no_wrap=True)
        for row in self.rows:
            table.add_row(*map(Text, row))
        if Measurement.get(console, options.update(max_width=10_000), table).maximum <= options.max_width:
            yield table
            return
        for row in self.rows:
            yield Text("  ".join(row[:2]), overflow="fold")
            named = zip(self.names[2:], row[2:], strict=True)
            said = [f"{name} {cell}" for name, cell in named if cell not in ("", "–")]
            yield Text(f"  {', '.join(said)}", overflow="fold")
