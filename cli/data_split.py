"""`capetune data split`: annotation files for another question than MP-100's."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import typer

from capetune.cli import common
from capetune.errors import UserError


class By(StrEnum):
    frames = "frames"
    categories = "categories"


def command(
    annotations: Path = typer.Option(..., "--annotations", metavar="DIR", help="Folder of mp100_split*_*.json[.gz]."),
    out: Path = typer.Option(..., "--out", metavar="DIR", help="Folder to make; must not exist."),
    by: By = typer.Option(
        By.frames,
        "--by",
        help="frames: the first images of each category against its last. categories: some against others, a fifth to "
        "test and a tenth to validate.",
    ),
    category: list[str] = typer.Option([], "--category", metavar="NAME", help="Only this one; may be repeated."),
    train: float | None = typer.Option(
        None, help="With frames: share of the images that are not for testing; 0.7 if not given."
    ),
    val: float | None = typer.Option(
        None,
        help="With frames: share of all images, the last of those, held out for validation; 0: none. Not given: a "
        "tenth, or as many as an episode takes, up to a fifth.",
    ),
) -> None:
    """Write split 1 anew: by frames, in which categories are seen in training, or by categories, which aren't.

    Examples:

      capetune data split --by frames --annotations data/annotations --out data/frames --category fly --category locust

      capetune data split --by categories --annotations data/annotations --out data/mine

      capetune data pack --annotations data/frames --images data/images --out shards-frames
    """
    from capetune.datasets.mp100.categories import split_by_categories
    from capetune.datasets.mp100.frames import split_by_frames
    from capetune.datasets.mp100.parts import TRAIN, advice

    if by == By.categories:
        if train is not None or val is not None:
            raise UserError("--train and --val are shares of images: they are for --by frames")
        parts = split_by_categories(annotations, out, category, tell=common.warn)
        told = [f"{out}: split 1 by categories, those of val and test aren't seen in training"]
        common.say(*told, *(f"  {part} {len(names)}: {', '.join(names)}" for part, names in parts.items()))
        return
    made = split_by_frames(annotations, out, category, TRAIN if train is None else train, val, tell=common.warn)
    print(f"{out}: split 1 by {by.value}, seen categories")
    for frames in made:
        print(f"  {frames.name}: " + ", ".join(f"{part} {count}" for part, count in frames.counts.items()))
    if advised := advice(frames.validated for frames in made):
        print(advised)
