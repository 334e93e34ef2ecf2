"""What a search began with of earlier ones, in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capetune.reports.words import share
from capetune.runs.commands import again
from capetune.runs.metrics import title
from capetune.tuning.goal import Goal


def earlier_lines(folder: Path | str, facts: Mapping[str, Any], goal: Goal, best: float | None) -> list[str]:
    """A line for each earlier search. facts: of the run in `folder`. best: this search's own best score; that an
    earlier one's is better is said, for it is no trial of this one."""
    lines, runs = [], str(folder).rpartition("/")[0] or "."
    for row in facts.get("warm_start", ()):
        name, trials, points = row["search"], row["trials"], row["points"]
        said = f"{_count(trials, 'trial')} of {name} known to the sampler" if trials else ""
        said = "; ".join(filter(None, [said, f"{_count(points, 'point')} of {name} tried first" if points else ""]))
        score = row.get("score")
        if score is not None:
            said += f"; its best, trial {row['best']}, has {title(goal.metric)} {share(score)}"
            if best is None or goal.rank(score) > goal.rank(best):
                said += f", better than any here: {again('train --best', f'{runs}/{name}')}"
        lines.append(said)
    return lines


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
