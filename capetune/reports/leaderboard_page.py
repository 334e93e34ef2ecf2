"""The leaderboard as one HTML page that needs no network."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capetune.errors import UserError
from capetune.pose import SPLITS
from capetune.reports.leaderboard import COLUMNS, FIGURES, row
from capetune.reports.page import filled
from capetune.storage.whole import write_aside


def write_page(boards: Mapping[Any, Sequence[Any]], results: Sequence[Path], out: Path) -> None:
    """Aside and renamed. boards: what `runs.leaderboard.boards` gives. results: the files that ours are of. Raises
    UserError where it can't be written."""
    content = render(boards, results, out)
    try:
        write_aside(out, content.encode(errors="replace"))  # a path may be no text
    except OSError as error:
        raise UserError(f"can't write {out}: {error.strerror or error}; give --html another file") from None


def render(boards: Mapping[Any, Sequence[Any]], results: Sequence[Path], out: Path) -> str:
    """The page."""
    words = ["capetune", "leaderboard", *map(str, results), "--html", str(out)]
    return filled(
        "leaderboard.html",
        title="MP-100, published results" + " and ours" * bool(results),
        command=shlex.join(words),
        config_hash=None,
        drawn=False,
        columns=COLUMNS,
        figures=FIGURES,
        sources=[str(result) for result in results],
        tables=[
            (board, [(_values(one), row(one), one.grade == "ours") for one in rows]) for board, rows in boards.items()
        ],
    )


def _values(entry: Any) -> list[float | None]:
    """What the FIGURES are sorted by."""
    return [*(entry.splits.get(split) for split in SPLITS), entry.whole]
