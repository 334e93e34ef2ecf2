"""`capetune data synth`: make the built-in synthetic data set."""

from __future__ import annotations

from pathlib import Path

import typer


def command(
    out: Path = typer.Option(..., "--out", help="Folder to make; must not hold anything yet."),
    categories: int = typer.Option(1000, help="How many categories; how many decides whether a model generalises."),
    images: int = typer.Option(20, help="Images of each category. An episode of 5 shots needs 20."),
    size: int = typer.Option(160, help="Longer side of an image in pixels."),
    seed: int = typer.Option(0, help="Another seed, another data set."),
    workers: int | None = typer.Option(None, help="Processes; one a CPU if not given. The result is the same."),
) -> None:
    """Make a data set of procedural objects in the layout of MP-100, to try everything without its images.

    Examples:

      capetune data synth --out data/synthetic

      capetune data synth --out /tmp/small --categories 100 --images 20
    """
    from functools import partial
    from time import perf_counter

    from capetune.datasets.synthetic.generate import generate
    from capetune.reports.progress import progress_bar

    start = perf_counter()
    with progress_bar() as bar:
        generate(out, categories, images, size, seed, workers, partial(bar, "drawing categories"))
    seconds = perf_counter() - start
    print(f"{out}: {categories} categories, {categories * images} images, 5 splits, made in {seconds:.0f} s")
