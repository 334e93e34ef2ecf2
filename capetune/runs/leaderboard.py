"""Published results of MP-100 and our own, in tables within which every figure means the same.

`published.csv` beside this file holds what others have printed: official, out of their repository or paper; secondary,
out of another paper's table. A figure of another protocol, part, number of supports or data stands in another table.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from capetune.datasets.mp100.catalogue import known
from capetune.errors import UserError
from capetune.evaluation.protocol import OTHERS
from capetune.pose import SPLITS
from capetune.runs.document import Odd, read_checked

PUBLISHED = Path(__file__).with_name("published.csv")
CATEGORIES = {"val": 10, "test": 20}  # of MP-100, in each split


@dataclass(frozen=True)
class Board:
    """What all figures of a table have in common. All are PCK at 0.2 of the longer box side, in percent, but for what
    the protocol says."""

    protocol: str
    data: str
    part: str
    shots: int

    @property
    def title(self) -> str:
        shots = f"{self.shots} shot{'s' * (self.shots != 1)}"
        return f"PCK@0.2, {self.protocol}, {self.part}, {shots}, {self.data} data"


@dataclass(frozen=True)
class Entry:
    """A row of a table. splits: by split, percent. whole: the mean over five splits as it was printed, or as these five
    give it; None where some are missing. grade: official, secondary, or ours. note: what else there is to say."""

    board: Board
    method: str
    splits: Mapping[int, float]
    whole: float | None
    grade: str
    source: str
    support: str = ""
    backbone: str = ""
    input: str = ""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        described = {
            name: getattr(self, name) for name in ("method", "grade", "source", "support", "backbone", "input")
        }
        figures = {"splits": {str(split): value for split, value in self.splits.items()}, "average": self.whole}
        return {**described, **figures, "note": self.note}


class _Scores(TypedDict):
    pck: dict[str, float]


class _Unsampled(TypedDict):
    id: int


class _Category(TypedDict):
    name: str


class _Result(TypedDict):
    """What is looked at of an evaluation's JSON."""

    protocol: str
    data: str
    part: str
    shots: int
    split: int
    predictor: str
    pck: dict[str, float]
    template: _Scores
    not_sampled: list[_Unsampled]
    per_category: dict[int, _Category]  # JSON has the ids as text
    pairs_hash: str | None


_RESULT = TypeAdapter(_Result)


def published() -> list[Entry]:
    """In the order of the file. All are of real data."""
    found = []
    with PUBLISHED.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            splits = {split: float(row[f"split{split}"]) for split in SPLITS if row[f"split{split}"]}
            board = Board(row["protocol"], "real", row["part"], int(row["shots"]))
            more = {name: row[name] for name in ("support", "backbone", "input", "note")}
            method, source = f"{row['method']} ({row['year']})", row["source"]
            whole = float(row["average"]) if row["average"] else None
            found.append(Entry(board, method, splits, whole, row["grade"], source, **more))
    return found


@dataclass
class Ours:
    """Results of ours, as `add` takes them."""

    entries: list[Entry] = field(default_factory=list)
    pairs: dict[tuple[Board, int], tuple[str | None, Path]] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        """A file of `capetune eval --json`, or a folder of such, as a promotion's run is. All in a folder are of one
        method, and several of a split are its seeds, of which the mean is taken. The template on the same pairs is a
        row of its own.

        Raises UserError where there is no result, or one is of other pairs than an earlier one of the same column.
        """
        files = sorted(path.rglob("eval-*.json")) or sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not files:
            raise UserError(f"{path} holds no result; give a file of `capetune eval --json`, or a promotion's folder")
        groups: dict[Board, dict[int, list[_Result]]] = {}
        for file in files:
            result = _read(file)
            board = Board(_protocol(result), result["data"], result["part"], result["shots"])
            pairs = result["pairs_hash"]
            first, other = self.pairs.setdefault((board, result["split"]), (pairs, file))
            if first != pairs:
                raise UserError(f"{file} and {other} are of different pairs ({pairs}, {first}): compare them apart")
            groups.setdefault(board, {}).setdefault(result["split"], []).append(result)
        for board, splits in groups.items():
            self.entries += _rows(board, splits, path)


def _rows(board: Board, splits: Mapping[int, Sequence[_Result]], path: Path) -> Iterator[Entry]:
    results = [result for group in splits.values() for result in group]
    seeds = max(map(len, splits.values()))
    note = f"mean of up to {seeds} results a split" if seeds > 1 else ""
    predictors = " and ".join(dict.fromkeys(result["predictor"] for result in results))
    scores = {split: statistics.mean(result["pck"]["0.2"] for result in group) for split, group in splits.items()}
    templates = {split: statistics.mean(r["template"]["pck"]["0.2"] for r in group) for split, group in splits.items()}
    name = path.name if path.is_dir() else path.stem
    for method, values, said in (
        (f"{name} ({predictors})", scores, note),
        (f"template, the pairs of {name}", templates, "no model: the supports' mean pose in the query's box"),
    ):
        percent = {split: 100 * values[split] for split in sorted(values)}
        whole = statistics.mean(percent.values()) if set(percent) == set(SPLITS) else None
        yield Entry(board, method, percent, whole, "ours", str(path), note=said)


def boards(entries: Iterable[Entry]) -> dict[Board, list[Entry]]:
    """The tables: official test results first, by rising shots, real data before synthetic; within a table the best
    mean first, those without one after them, by the mean of the splits they have."""
    groups: dict[Board, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.board, []).append(entry)

    def rank(entry: Entry) -> tuple[bool, float]:
        return entry.whole is None, -(entry.whole or statistics.mean(entry.splits.values()))

    def place(board: Board) -> tuple[bool, bool, str, bool, int]:
        return board.data != "real", board.protocol != "official", board.protocol, board.part != "test", board.shots

    return {board: sorted(groups[board], key=rank) for board in sorted(groups, key=place)}


def _read(file: Path) -> _Result:
    wanted = "no result of an evaluation; `capetune eval --json FILE` writes one"
    try:
        result: _Result = read_checked(file, _RESULT)
    except FileNotFoundError:
        raise UserError(f"{file}: there is no such file; give a result or a promotion's folder") from None
    except Odd as odd:
        raise UserError(f"{file} {odd}: {wanted}") from None
    figures = (result["pck"].get("0.2"), result["template"]["pck"].get("0.2"))
    if not all(value is not None and 0 <= value <= 1 for value in figures):
        raise UserError(f"{file} has no PCK at 0.2 in [0, 1]: {wanted}")
    return result


def _protocol(result: _Result) -> str:
    """As the result says; a mean that lacks categories is another one, and so is one of others than MP-100's."""
    lacks, scored = len(result["not_sampled"]), result["per_category"]
    told = [result["protocol"], *([f"{lacks} categories not sampled"] if lacks else [])]
    if result["data"] == "real":
        of = CATEGORIES.get(result["part"], len(scored) + lacks)
        if not all(known(int(id), category["name"]) for id, category in scored.items()):
            told += [] if OTHERS in result["protocol"] else [OTHERS]  # older results don't say it
        elif len(scored) + lacks < of:
            told.append(f"{len(scored) + lacks} of MP-100's {of} categories")
    return ", ".join(told)
