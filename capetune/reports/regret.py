"""How far a search was from its best score, epoch by epoch of all its trials, and what it cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from capetune.reports.story import Story
from capetune.runs.diary import read_events


@dataclass(frozen=True)
class Regret:
    """at: after which epochs of all trials a better score than any before was there; short: how far that is from the
    best one of all, ≥ 0. spent: epochs that were trained. budget: those that the space allows, None: any number."""

    at: list[int]
    short: list[float]
    spent: int
    budget: int | None

    def after(self, epochs: float) -> float | None:
        """How far the best score was from the final one after so many; None before there was any."""
        reached = [short for at, short in zip(self.at, self.short, strict=True) if at <= epochs]
        return reached[-1] if reached else None

    @property
    def marks(self) -> list[tuple[float, str]]:
        """The quarters of the budget that were reached; without one, of what was spent."""
        whole = self.budget or self.spent
        quarters = [(whole * part / 4, f"{25 * part} %") for part in (1, 2, 3, 4)]
        return [(at, words) for at, words in quarters if at <= self.spent]


def regret(story: Story, place: int) -> Regret | None:
    """Of the metric at that place of the goal; None where no epoch has it."""
    metric, sign = story.goal.metrics[place], 1.0 if story.goal.modes[place] == "max" else -1.0
    at, best, spent = list[int](), list[float](), 0
    for spent, score in enumerate(_scores(story, metric), start=1):
        if math.isfinite(score) and (not best or sign * score > best[-1]):
            at.append(spent)
            best.append(sign * score)
    if not best:
        return None
    budget = story.space.header.budget.epochs if story.space else None
    return Regret(at, [best[-1] - each for each in best], spent, budget)


def _scores(story: Story, metric: str) -> Iterator[float]:
    """Of each epoch, in the order in which they ended; one that was trained again counts again. Where the run's events
    don't tell, trial after trial."""
    told = [
        event["metrics"].get(metric, math.nan)
        for event in read_events(story.run.folder)
        if event.get("event") == "epoch_done" and isinstance(event.get("metrics"), dict)
    ]
    if told:
        return iter(told)
    rows = sorted(story.rows, key=lambda row: row.number)
    return (epoch.get(metric, math.nan) for row in rows for epoch in row.history)


def cost(story: Story) -> str | None:
    """Hours of what all trials reserved while they trained; None of a search that doesn't say."""
    reserved = story.run.facts.get("reserved")
    if not reserved:
        return None
    kind = "GPU" if "GPU" in reserved else "CPU"
    hours = sum(row.seconds for row in story.rows) / 3600 * reserved[kind]
    return f"{hours:.2g} {kind} hours" if hours < 10 else f"{hours:.0f} {kind} hours"
