"""What a training would read, as a table and in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from capetune.datasets.mp100.findings import counted

if TYPE_CHECKING:
    from capetune.datasets.episodes.plan import Plan

MUCH = 0.02  # of the samples, that an epoch may not see before it is said how to mend that


def plan_table(plan: Plan) -> Table:
    """A row an epoch."""
    table = Table(title="What each epoch reads")
    for title in (
        "epoch",
        "steps a rank",
        "shards a reader",
        "samples a reader",
        "seen once",
        "again",
        "not seen",
        "of a category",
    ):
        table.add_column(title, justify="right")
    table.add_column("bits of categories a batch", justify="right")
    for row in plan.epochs:
        ends = (
            f"{least}" if least == most else f"{least}-{most}" for least, most in (row.steps, row.shards, row.samples)
        )
        often = f"{row.often[0]}-{row.often[1]}"
        counts = (*(str(number) for number in (row.once, row.again, row.never)), often)
        table.add_row(str(row.epoch), *ends, *counts, f"{row.entropy:.2f} of {row.ideal:.2f}")
    return table


def plan_lines(plan: Plan) -> list[str]:
    """What belongs under the table."""
    readers = plan.ranks * max(1, plan.loaders)
    told = [
        f"{plan.pack}, split {plan.split}: {counted(plan.samples, 'train sample')} of "
        f"{counted(plan.categories, 'category', 'categories')} in {counted(plan.shards, 'shard')} for "
        f"{counted(readers, 'reader')}, each with some of its own"
    ]
    if plan.surplus > 0:
        full = plan.ranks * plan.batch
        told.append(f"the last step is filled up with {counted(plan.surplus, 'sample')} more: {full} don't divide them")
    alike = sum(row.alike for row in plan.epochs)
    told.append(f"{alike} times the same order" if alike else "the order is another on every rank and in every epoch")
    if plan.lonely:
        told.append(f"{counted(plan.lonely, 'category', 'categories')} of one sample left out: it has no other to show")
    return told


def plan_warnings(plan: Plan) -> list[str]:
    """What works, but could be better."""
    told = []
    full, readers = plan.ranks * plan.batch, plan.ranks * max(1, plan.loaders)
    if full > plan.samples:
        told.append(f"a step takes {full} samples, of {plan.samples}: give fewer --ranks or a smaller --batch")
    never = max(row.never for row in plan.epochs)
    if plan.balance == "instances" and never > MUCH * plan.samples:
        cure = f"pack with --shards {8 * readers}, which share more evenly" if plan.shards < 8 * readers else ""
        cure = cure or "fewer --loaders share more evenly"
        told.append(f"an epoch misses up to {never} of {plan.samples} samples, and others come twice; {cure}")
    return told
