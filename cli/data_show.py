"""`capetune data show`: a contact sheet of what a pack holds."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import typer

from capetune.cli import common
from capetune.errors import UserError

NOTHING = {"boxes": "a keypoint outside its box or a tiny box", "odd": "anything odd", "visible": "any keypoints"}


def command(
    data: str = typer.Argument(..., metavar="PACK", help="A pack, made by `capetune data pack`, or `synthetic`."),
    out: Path = typer.Option(..., "--out", metavar="PNG", help="Picture to write."),
    count: int = typer.Option(24, min=1, max=400, help="Instances to show, taken from the categories in turn."),
    category: str | None = typer.Option(None, metavar="ID|NAME", help="Only this category."),
    split: int | None = typer.Option(None, min=1, max=5, help="Only of this split; see --part."),
    part: Literal["train", "val", "test"] | None = typer.Option(None, help="With --split; train if not given."),
    worst: Literal["boxes", "odd", "visible"] | None = typer.Option(
        None,
        help="Not in turn but the worst first, with their ids. boxes: keypoints outside, or tiny; odd: what is odd "
        "about them; visible: the fewest visible keypoints.",
    ),
) -> None:
    """Draw crops with their keypoints and skeletons, to see that they belong together.

    Examples:

      capetune data show shards --out sheet.png

      capetune data show synthetic --out sheet.png

      capetune data show shards --out test.png --split 1 --part test

      capetune data show shards --out birds.png --category Woodpecker --count 6

      capetune data show shards --out bad.png --worst boxes
    """
    from capetune.datasets.mp100.findings import counted
    from capetune.datasets.packs.worst import worst_first
    from capetune.reports.sheet import choose, draw_sheet, find_category, groups, save

    if part is not None and split is None:
        raise UserError("--part wants --split beside it")
    pack = common.open_data(data)
    only = find_category(pack, category) if category is not None else None
    notes: list[str] = []
    if worst is None:
        chosen = choose(pack, count, only, split, part or "train")
    else:
        found = groups(pack, only, split, part or "train")
        instances = [instance for group in found.values() for instance in group]
        ranked = worst_first(instances, worst)
        if not ranked:
            print(f"none of {counted(len(instances), 'instance')} has {NOTHING[worst]}: no picture is written")
            return
        chosen, notes = [instance for instance, _ in ranked[:count]], [note for _, note in ranked[:count]]
    save(draw_sheet(pack, chosen, notes), out)
    if worst is not None:
        print(f"{len(ranked)} of {len(instances)} instances to look at, the worst first")
    categories = len({instance.category_id for instance in chosen})
    print(f"{out}: {len(chosen)} instances, {categories} of the pack's {len(pack.categories)} categories")
