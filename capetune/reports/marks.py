"""What the report's figures have in common, in a browser and as PNG."""

from __future__ import annotations

from capetune.reports.look import ACCENT, GREY, RED
from capetune.reports.story import Row, Story

STATES = {
    "completed": ACCENT,
    "pruned": GREY,
    "halted": GREY,
    "stopped": GREY,
    "failed": RED,
    "diverged": RED,
    "running": ACCENT,
    "unfinished": GREY,
}
BROKEN = ("stopped", "unfinished", "running")  # states whose curves are to go on


DRAWN = 200  # trials with a line each, at most: a browser draws no thousands


def curves(story: Story, metric: str) -> list[tuple[Row, list[int], list[float]]]:
    """(trial, epochs, scores) of the first DRAWN trials that finished an epoch, the best one last, to lie on top."""
    found = []
    for row in reversed(with_epochs(story, metric)[:DRAWN]):
        epochs = [epoch for epoch in row.history if metric in epoch]
        found.append((row, [int(epoch["epoch"]) for epoch in epochs], [epoch[metric] for epoch in epochs]))
    return sorted(found, key=lambda curve: curve[0] is story.best)


def with_epochs(story: Story, metric: str) -> list[Row]:
    """The trials that finished an epoch, the best first."""
    return [row for row in story.rows if any(metric in epoch for epoch in row.history)]


def pruned(story: Story, metric: str) -> list[Row]:
    return [row for row in story.rows if row.state == "pruned" and metric in row.metrics]
