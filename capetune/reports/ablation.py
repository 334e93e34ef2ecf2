"""Trials of several seeds beside the default, as a paper's ablation shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from capetune.reports.words import share, short, tails
from capetune.runs.metrics import title
from capetune.runs.results import may_be_best

MOST = 40  # rows on screen


def ablation_rows(trials: Sequence[Mapping[str, Any]], metric: str, mode: str) -> list[tuple[str, ...]]:
    """A row of text a trial, by their numbers: number, what it changes of the default, score ± deviation, difference,
    its interval, and what that shows. Empty where no trial has a difference. trials: as results.json has them. mode:
    max or min, of the metric."""
    if all(trial.get("difference") is None for trial in trials):
        return []
    keys = list(dict.fromkeys(key for trial in trials for key in trial["overrides"]))
    labels = dict(zip(keys, tails(keys), strict=True))
    default = next(trial["overrides"] for trial in trials if trial["number"] == 0)
    rows: list[tuple[str, ...]] = []
    for trial in sorted(trials, key=lambda trial: trial["number"]):
        changed = {key: value for key, value in trial["overrides"].items() if default.get(key) != value}
        change = ", ".join(f"{labels[key]} = {short(value)}" for key, value in changed.items()) or "the default"
        score = share(trial["score"]) + (f" ± {share(trial['spread'])}" if trial.get("spread") is not None else "")
        rows.append((str(trial["number"]), change, f"{title(metric)} {score}", *_beside(trial, mode)))
    return rows


def _beside(trial: Mapping[str, Any], mode: str) -> tuple[str, str, str]:
    mean, half = trial.get("difference"), trial.get("interval")
    if mean is None or half is None:
        return "–", "–", "" if trial["number"] == 0 else str(trial["status"])
    low, high = (mean - half, mean + half) if mode == "max" else (-mean - half, -mean + half)
    shown = "better" if low > 0 else "worse" if high < 0 else "no difference shown"
    return f"{mean:+.3f}", f"{mean - half:+.3f} to {mean + half:+.3f}", shown


def beside_default(trials: Sequence[Mapping[str, Any]], metric: str) -> str | None:
    """By how much the best trial differs from the default, and what that rests on; None where the default is the best,
    or one of the two can't be compared. trials: as results.json has them, the best first."""
    default = next((trial for trial in trials if trial["number"] == 0), None)
    if default is None or default is trials[0] or not (_comparable(trials[0]) and _comparable(default)):
        return None
    best, mean, half = trials[0], trials[0].get("difference"), trials[0].get("interval")
    who = f"trial {best['number']} beside the default"
    if mean is None or half is None:
        lead = f"{title(metric)} {best['score'] - default['score']:+.3f}"
        return f"{who}: {lead}; without several seeds each, what of it is chance isn't known (repeats: 3 in a space)"
    seeds, ends = len(best["seeds"]), f"{mean - half:+.3f} to {mean + half:+.3f}"
    flatters = "; the best of many by these same scores, it is flattered by them" if len(trials) > 2 else ""
    return f"{who} with the same {seeds} seeds: {title(metric)} {mean:+.3f}, 95 % interval {ends}{flatters}"


def _comparable(trial: Mapping[str, Any]) -> bool:
    return may_be_best(trial["score"], trial.get("excess", {}))


def ablation_table(rows: Sequence[tuple[str, ...]]) -> Table:
    """rows: as `ablation_rows` has them."""
    head = "beside trial 0 with the same seeds; 95 % intervals, each for itself"
    if len(rows) > MOST:
        head += f"; the first {MOST} of {len(rows)}, results.csv has all"
    table = Table(title=head, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("trial", "change", "score", "difference", "95 % interval", ""):
        table.add_column(name, overflow="fold")
    for row in rows[:MOST]:
        table.add_row(*row)
    return table
