"""`capetune data split`: annotation files for another question than MP-100's."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import typer

from capetune.cli import common


class By(StrEnum):
    frames = "frames"


def command(
    annotations: Path = typer.Option(..., "--annotations", metavar="DIR", help="Folder of mp100_split*_*.json[.gz]."),
    out: Path = typer.Option(..., "--out", metavar="DIR", help="Folder to make; must not exist."),
    by: By = typer.Option(By.frames, "--by", help="frames: the first images of each category against its last."),
    category: list[str] = typer.Option([], "--category", metavar="NAME", help="Only this one; may be repeated."),
    train: float = typer.Option(0.7, help="Share of the images that are not for testing."),
    val: float | None = typer.Option(
        None,
        help="Share of all images, the last of those, held out for validation; 0: none. Not given: a tenth, or as many "
        "as an episode takes, up to a fifth.",
    ),
) -> None:
    """Write split 1 anew: each category's first images to train on, its last to test on. Categories are then seen.

    Examples:

      capetune data split --by frames --annotations data/annotations --out data/frames --category fly --category locust

      capetune data pack --annotations data/frames --images data/images --out shards-frames
    """
    from capetune.datasets.mp100.frames import split_by_frames
    from capetune.datasets.mp100.parts import advice

    made = split_by_frames(annotations, out, category, train, val, tell=common.warn)
    print(f"{out}: split 1 by {by.value}, seen categories")
    for frames in made:
        print(f"  {frames.name}: " + ", ".join(f"{part} {count}" for part, count in frames.counts.items()))
    if told := advice(frames.validated for frames in made):
        print(told)
