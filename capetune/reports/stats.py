"""What a pack holds, as a table, in words and as a figure."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter
from rich.table import Table

from capetune.datasets.mp100.findings import counted, listed
from capetune.datasets.packs.alike import ALIKE
from capetune.datasets.packs.stats import spread
from capetune.reports.look import ACCENT, GREY
from capetune.reports.quiet import quiet

if TYPE_CHECKING:
    from capetune.datasets.packs.stats import CategoryStats, PackStats

SELDOM = 0.2  # of the instances; a keypoint seen in fewer is named
LEGIBLE = 20  # names of categories in the figure, at most
SIZE, DPI = (12.0, 4.0), 150  # inches, dots an inch


def stats_table(stats: PackStats) -> Table:
    """A row a category."""
    table = Table(title=f"{stats.pack}: by category")
    table.add_column("id", justify="right")
    table.add_column("category")
    for title in ("instances", "pictures", "K", "edges", "box side, px", "visible", "alike", "in one part", "leaked"):
        table.add_column(title, justify="right")
    table.add_column("odd", ratio=1)
    for row in stats.categories:
        graph = row.category.graph
        table.add_row(
            str(row.category.id),
            row.category.name,
            str(row.instances),
            str(row.pictures),
            str(graph.size),
            str(len(graph.edges)),
            " · ".join(f"{side:.0f}" for side in spread(row.sides)),
            f"{row.visible.mean():.0%}",
            str(len(row.twins.pairs)),
            str(len(row.twins.episode)),
            str(len(row.twins.leaked)),
            " · ".join(what if count == 1 else f"{what} ×{count}" for what, count in row.odd.items()),
        )
    return table


def stats_lines(stats: PackStats) -> list[str]:
    """What belongs under the table: totals, what near-duplicates there are, keypoints that are seldom seen."""
    kind = "synthetic " if stats.synthetic else ""
    categories = counted(len(stats.categories), "category", "categories")
    told = [
        f"{counted(stats.instances, f'{kind}instance')} of {categories} in {counted(stats.pictures, 'picture')}; box "
        "side: smallest, median, largest"
    ]
    pairs, episode, leaked = (
        sum(len(found) for found in each)
        for each in zip(*((r.twins.pairs, r.twins.episode, r.twins.leaked) for r in stats.categories), strict=True)
    )
    if pairs:
        told.append(
            f"alike: {counted(pairs, 'pair')} of pictures of a category whose crops look the same (correlation "
            f"≥ {ALIKE:g}), {_example(stats.categories)} for one"
        )
        told.append(f"in one part: {counted(episode, 'instance')} that have such a one as a support, an easy question")
        told.append(f"leaked: {counted(leaked, 'instance')} to validate or test that have such a one in training")
    else:
        told.append(f"no near-duplicates: no two pictures of a category have crops of a correlation ≥ {ALIKE:g}")
    for row in stats.categories:
        seldom = [f"{name} ({share:.0%})" for name, share in row.seen.items() if share < SELDOM]
        if seldom:
            told.append(f"{row.category.name}: seldom visible: {listed(seldom)}")
    return told


def _example(categories: tuple[CategoryStats, ...]) -> str:
    first = next(row.twins.pairs[0] for row in categories if row.twins.pairs)
    return " and ".join(str(id) for id in first)


def stats_figure(stats: PackStats) -> bytes:
    """A PNG: instances by category, box sides, visible keypoints by instance."""
    plt.switch_backend("agg")  # no window, whatever the machine has
    with quiet(), plt.rc_context({"text.parse_math": False}):  # a $ in a name is no formula
        figure, (counts, sides, visible) = plt.subplots(1, 3, figsize=SIZE, layout="constrained")
        rows = sorted(stats.categories, key=lambda row: row.instances)
        counts.barh(range(len(rows)), [row.instances for row in rows], color=ACCENT)
        counts.set(title="instances of each category", xlabel="instances")
        named = rows if len(rows) <= LEGIBLE else []
        counts.set_yticks(range(len(named)), [row.category.name for row in named])
        every = np.concatenate([row.sides for row in rows])
        edges = np.geomspace(max(1.0, every.min()), max(2.0, every.max() + 1), 30)
        sides.hist(np.maximum(every, 1), bins=edges, color=ACCENT)
        sides.axvline(float(np.median(every)), color=GREY, label=f"median {np.median(every):.0f} px")
        sides.set(title="longer box side", xlabel="pixels", ylabel="instances", xscale="log")
        sides.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        sides.xaxis.set_major_formatter("{x:.0f}")
        sides.xaxis.set_minor_formatter(NullFormatter())
        sides.legend()
        visible.hist(np.concatenate([row.visible for row in rows]), bins=np.linspace(0, 1, 21), color=ACCENT)
        visible.set(title="visible keypoints", xlabel="share of an instance's keypoints", ylabel="instances")
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=DPI, facecolor="white")
        plt.close(figure)
    return content.getvalue()
