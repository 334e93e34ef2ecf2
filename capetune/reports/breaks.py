"""What broke a training or a promotion while it ran, as its diary tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from capetune.runs.diary import read_events


@dataclass(frozen=True)
class Breaks:
    """machines: lost ones, by name. lines: each time that work was begun again, in words."""

    machines: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def read_breaks(folder: Path) -> Breaks:
    """Of the run in that folder; lines that are damaged or of a kind unheard of are passed over."""
    breaks, began = Breaks(), 0
    states: dict[str, object] = {}
    again: dict[str, int] = {}
    for event in read_events(folder):
        kind = event.get("event")
        if kind == "node_lost":
            breaks.machines.append(str(event.get("node")))
        elif kind == "training_began":
            began += 1
            if began > 1:
                where = f"after epoch {after}" if (after := _last_epoch(event.get("history"))) else "from the beginning"
                breaks.lines.append(f"it was cut off and went on {where}; what was begun of the next was made again")
        elif kind == "workers_began_again":
            epoch, step, repeated = (event.get(name, 0) for name in ("epoch", "step", "repeated"))
            where = (f"after epoch {epoch}" if epoch else "from the beginning") + (f", step {step}" if step else "")
            more = f"; about {repeated} steps were made again" if repeated else ""
            breaks.lines.append(f"all workers began again {where}{more}")
        elif kind == "job_changed":
            job, state = str(event.get("job")), event.get("state")
            again[job] = again.get(job, 0) + (state == "running" and states.get(job, "ended") != "ended")
            states[job] = state
    breaks.lines.extend(
        f"{job} was begun again {'once' if count == 1 else f'{count} times'}" for job, count in again.items() if count
    )
    return breaks


def _last_epoch(history: object) -> int | None:
    last = history[-1] if isinstance(history, list) and history else None
    epoch = last.get("epoch") if isinstance(last, dict) else None
    return int(epoch) if isinstance(epoch, int | float) else None
