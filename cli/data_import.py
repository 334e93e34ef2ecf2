"""`capetune data import`: what an annotation tool exported, as one COCO file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import typer

from capetune.cli import common


class Format(StrEnum):
    coco = "coco"
    cvat = "cvat"
    labelstudio = "labelstudio"
    labelme = "labelme"
    yolo = "yolo"
    dlc = "dlc"
    sleap = "sleap"


def command(
    source: Path = typer.Argument(..., metavar="FILE|DIR", help="What the tool exported, unpacked."),
    out: Path = typer.Option(..., "--out", metavar="DIR", help="Folder to make; must not exist."),
    format: Format | None = typer.Option(None, "--format", help="The tool; default: as the files show."),
    images: Path | None = typer.Option(
        None, "--images", metavar="DIR", help="Folder to look for the pictures in; default: where the labels lie."
    ),
) -> None:
    """Write DIR/annotations.json, a COCO file for `data pack --coco`. What can't be kept is counted and named.

    Examples:

      capetune data import annotations.xml --images pictures --out mine

      capetune data pack --coco mine/annotations.json --images pictures --out shards
    """
    from capetune.datasets.labels.convert import convert
    from capetune.reports.converting import converted_lines, converted_warnings

    made = convert(source, out, format.value if format else None, images)
    common.say(*converted_lines(made))
    common.warn(*converted_warnings(made))
