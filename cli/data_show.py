"""`capetune data show`: a contact sheet of what a pack holds."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import typer

from capetune.cli import common
from capetune.errors import UserError


def command(
    data: str = typer.Argument(..., metavar="PACK", help="A pack, made by `capetune data pack`, or `synthetic`."),
    out: Path = typer.Option(..., "--out", metavar="PNG", help="Picture to write."),
    count: int = typer.Option(24, min=1, max=400, help="Instances to show, taken from the categories in turn."),
    category: str | None = typer.Option(None, metavar="ID|NAME", help="Only this category."),
    split: int | None = typer.Option(None, min=1, max=5, help="Only of this split; see --part."),
    part: Literal["train", "val", "test"] | None = typer.Option(None, help="With --split; train if not given."),
) -> None:
    """Draw crops with their keypoints and skeletons, to see that they belong together.

    Examples:

      capetune data show shards --out sheet.png

      capetune data show synthetic --out sheet.png

      capetune data show shards --out test.png --split 1 --part test

      capetune data show shards --out birds.png --category Woodpecker --count 6
    """
    from capetune.reports.sheet import choose, draw_sheet, find_category, save

    if part is not None and split is None:
        raise UserError("--part wants --split beside it")
    pack = common.open_data(data)
    chosen = choose(
        pack, count, find_category(pack, category) if category is not None else None, split, part or "train"
    )
    save(draw_sheet(pack, chosen), out)
    categories = len({instance.category_id for instance in chosen})
    print(f"{out}: {len(chosen)} instances, {categories} of the pack's {len(pack.categories)} categories")
