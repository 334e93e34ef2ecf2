"""DeepLabCut's labels: a CollectedData_SCORER.csv in each folder of labeled-data, frames as pictures beside it.

Three header rows (scorer, bodyparts, coords), of several animals four (individuals after the scorer). The project's
config.yaml has the order, the skeleton and the name. The .h5 beside each has the same.
Source: DeepLabCut's user guide, and its code that writes these files.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, Field

from capetune.datasets.labels.labels import OBJECT, VISIBLE, Labels
from capetune.datasets.labels.pictures import Pictures
from capetune.datasets.labels.reading import files, fitting, read_text
from capetune.errors import UserError
from capetune.yaml12 import read_yaml

HEADS = ("scorer", "individuals", "bodyparts", "coords")
NAN = float("nan")
UNIQUE = "single"  # the individual that the unique bodyparts belong to
PATTERNS = ("labeled-data/*/CollectedData*.csv", "*/CollectedData*.csv", "CollectedData*.csv")


class Project(BaseModel):
    """Of config.yaml. bodyparts says nothing where there are several animals."""

    task: str = Field(OBJECT, alias="Task")
    several: bool = Field(False, alias="multianimalproject")
    bodyparts: list[str] | str | None = None
    multianimalbodyparts: list[str] | None = None
    uniquebodyparts: list[str] | None = None
    skeleton: list[list[str]] | None = None

    def parts(self) -> list[str]:
        if self.several:
            return self.multianimalbodyparts or []
        return self.bodyparts if isinstance(self.bodyparts, list) else []


@dataclass(frozen=True)
class Column:
    individual: str
    part: str
    axis: str


def read_deeplabcut(source: Path, pictures: Pictures) -> Labels:
    """A project's folder, its config.yaml, or one CollectedData csv. What has coordinates is visible: DeepLabCut has no
    other visibility. Raises UserError where a file isn't of that format."""
    labels = Labels()
    if source.suffix.lower() in (".h5", ".hdf5"):
        raise UserError(f"{source}: give {source.with_suffix('.csv').name} beside it, which has the same labels")
    config = source if source.suffix in (".yaml", ".yml") else _config(source)
    project = fitting(Project, read_yaml(config), config) if config is not None else Project.model_validate({})
    if config is None:
        labels.note(f"no config.yaml, so no skeleton; the category is called {OBJECT!r}")
    folder = config.parent if config is not None and config == source else source
    tables = files(folder, *PATTERNS)
    if len({table.parent for table in tables}) < len(tables):
        raise UserError(f"{tables[0].parent} holds the labels of several scorers; give one csv at a time")
    read = [_table(table) for table in tables]
    columns = [column for found, _ in read for column in found]
    drawn = project.skeleton or []
    for category, unique, declared in (
        (project.task, False, project.parts()),
        (f"{project.task} {UNIQUE}", True, project.uniquebodyparts or []),
    ):
        seen = [column.part for column in columns if (column.individual == UNIQUE) == unique]
        names = list(dict.fromkeys([*declared, *seen])) if seen else []
        pairs = [pair for pair in drawn if len(pair) == 2 and set(pair) <= set(names)]
        drawn = [pair for pair in drawn if pair not in pairs]
        if names:
            edges = [(names.index(a), names.index(b)) for a, b in pairs]
            labels.declare(category, names, edges, str(config or folder))
    for pair in drawn:
        labels.lose("edge that isn't between two bodyparts", " and ".join(pair))
    for table, (found, rows) in zip(tables, read, strict=True):
        for number, path, values in rows:
            _read_row(path, found, values, project.task, labels, pictures, f"{table}, line {number}")
    return labels


def _config(source: Path) -> Path | None:
    """The project's, of its folder, of labeled-data, or of one csv in it."""
    for folder in [source, *source.absolute().parents[:3]]:
        if (folder / "config.yaml").is_file() and "bodyparts" in read_text(folder / "config.yaml"):
            return folder / "config.yaml"
    return None


def _table(file: Path) -> tuple[list[Column], list[tuple[int, str, list[str]]]]:
    """Its columns, and of each row the line, the picture's path and the columns' values."""
    rows = list(csv.reader(read_text(file).splitlines()))
    heads = {row[0]: row for row in rows[:4] if row and row[0] in HEADS}
    if not {"scorer", "bodyparts", "coords"} <= heads.keys():
        raise UserError(f"{file} has no rows scorer, bodyparts, coords at its top; give a CollectedData csv")
    # the picture's path is one column, or one for each of its parts; theirs have no header
    first = next((k for k, axis in enumerate(heads["coords"]) if k and axis), len(heads["coords"]))
    axes = heads["coords"][first:]
    if "likelihood" in axes:
        raise UserError(f"{file} holds what a model predicted, with likelihoods; give a CollectedData csv")
    people = heads.get("individuals", [""] * len(heads["coords"]))[first:]
    parts = heads["bodyparts"][first:]
    if not len(people) == len(parts) == len(axes) or set(axes) != {"x", "y"}:
        raise UserError(f"{file}: its header rows aren't equally long, or coords aren't x and y; export it again")
    columns = [Column(*names) for names in zip(people, parts, axes, strict=True)]
    made = []
    for number, row in enumerate(rows[len(heads) :], start=len(heads) + 1):
        if not row:
            continue
        if len(row) != first + len(columns):
            raise UserError(f"{file}, line {number}: {len(row)} columns, not {first + len(columns)}; export it again")
        made.append((number, "/".join(part for part in row[:first] if part), row[first:]))
    return columns, made


def _read_row(
    path: str, columns: list[Column], values: list[str], task: str, labels: Labels, pictures: Pictures, place: str
) -> None:
    name = pictures.name(path)
    size = pictures.size(name)
    if size is None:
        labels.lose("picture that isn't there or can't be read, with its labels", name)
        return
    labels.picture(name, size, place)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for column, value in zip(columns, values, strict=True):
        try:
            number = float(value or "nan")
        except ValueError:
            raise UserError(f"{place}: {column.axis} of {column.part!r} is {value!r}, no number") from None
        found.setdefault(column.individual, {}).setdefault(column.part, {})[column.axis] = number
    for individual, parts in found.items():
        points = [(part, at.get("x", NAN), at.get("y", NAN)) for part, at in parts.items()]
        known = [(part, x, y, VISIBLE) for part, x, y in points if x == x or y == y]
        if known:
            category = f"{task} {UNIQUE}" if individual == UNIQUE else task
            labels.add(category, name, known, place=f"{name}, {individual}" if individual else name)
