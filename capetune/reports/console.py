"""Where all that people read is printed."""

from __future__ import annotations

import sys

from rich.console import Console


def console(err: bool = False, columns: int = 120) -> Console:
    """On stdout or stderr, as wide as the terminal or, where there is none, `columns`, since tables are for reading.

    Names and paths are data: nothing in what it prints, in tables either, is read as markup. Styles are given as such,
    to rich's Text and tables.
    """
    width = None if (sys.stderr if err else sys.stdout).isatty() else columns
    return Console(stderr=err, width=width, markup=False, highlight=False, emoji=False)
