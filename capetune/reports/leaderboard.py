"""The leaderboard's tables: for a terminal, a README, a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from capetune.pose import SPLITS

COLUMNS = ("method", *(f"split {split}" for split in SPLITS), "mean", "support", "backbone", "input", "grade", "source")
FIGURES = range(1, 2 + len(SPLITS))
LATEX = {**{sign: f"\\{sign}" for sign in "&%$#_{}"}, "\\": "\\textbackslash{}", "~": "\\textasciitilde{}"}
LATEX["^"] = "\\textasciicircum{}"


def row(entry: Any) -> list[str]:
    """Of an `Entry`, a text for each of COLUMNS; figures in percent."""
    figures = [*(entry.splits.get(split) for split in SPLITS), entry.whole]
    said = f"{entry.source}; {entry.note}" if entry.note else entry.source
    texts = ["" if value is None else f"{value:.2f}" for value in figures]
    return [entry.method, *texts, entry.support, entry.backbone, entry.input, entry.grade, said]


def tables(boards: Mapping[Any, Sequence[Any]]) -> list[Table]:
    """Of what `runs.leaderboard.boards` gives."""
    found = []
    for board, entries in boards.items():
        table = Table(title=board.title, title_justify="left")
        for number, column in enumerate(COLUMNS[:-1]):
            table.add_column(column, justify="right" if number in FIGURES else "left")
        for entry in entries:
            table.add_row(*row(entry)[:-1])
        found.append(table)
    return found


def markdown(boards: Mapping[Any, Sequence[Any]]) -> str:
    parts = []
    for board, entries in boards.items():
        lines = [f"**{board.title}**", "", _cells(COLUMNS)]
        lines.append(_cells(["---:" if number in FIGURES else "---" for number in range(len(COLUMNS))]))
        parts.append("\n".join([*lines, *(_cells(row(entry)) for entry in entries)]))
    return "\n\n".join(parts)


def latex(boards: Mapping[Any, Sequence[Any]]) -> str:
    """With booktabs. Sources stand in comments: they would make the table too wide."""
    parts = []
    for board, entries in boards.items():
        lines = [f"% {board.title}", r"\begin{tabular}{l" + "r" * len(FIGURES) + "llll}", r"\toprule"]
        lines += [" & ".join(map(_escaped, COLUMNS[:-1])) + r" \\", r"\midrule"]
        for entry in entries:
            *cells, source = row(entry)
            lines.append(" & ".join(map(_escaped, cells)) + rf" \\ % {source}")
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}"]))
    return "\n\n".join(parts)


def _cells(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def _escaped(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in text)
