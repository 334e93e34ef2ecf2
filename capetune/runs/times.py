"""Where an epoch's time went, by the seconds among its metrics (`training.loop.fit`)."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

# In the order of an epoch. A step that isn't told by its parts is `step`; `other` is what belongs to none of them.
WORDS = {
    "data": "data wait",
    "copy": "copy",
    "forward": "forward",
    "backward": "backward",
    "optimiser": "optimiser",
    "step": "step",
    "other": "other",
    "validation": "validation",
    "checkpoint": "checkpoint",
    "upload": "upload wait",
}
LEARNING = ("forward", "backward", "optimiser")
# The share of an epoch from which on it is worth a word; learning is what an epoch is for.
NOTABLE = {"data": 0.1, "copy": 0.1, "validation": 0.3, "checkpoint": 0.1, "upload": 0.1}


def parts(metrics: Mapping[str, float]) -> dict[str, float]:
    """Seconds by part, in the order of WORDS, of those that are told.

    Where a GPU replays steps, and in older histories, a step's own parts aren't told: then there is `step`.
    """
    told = {part: metrics[f"seconds_{part}"] for part in WORDS if f"seconds_{part}" in metrics}
    if "seconds_steps" in metrics:  # all of them but the wait for data
        rest = metrics["seconds_steps"] - sum(told.get(part, 0.0) for part in ("copy", *LEARNING))
        told["other" if "forward" in told else "step"] = max(0.0, rest)
    return {part: told[part] for part in WORDS if part in told}


def means(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Seconds an epoch by part, in the same order: means over the epochs that tell of any."""
    told = [found for row in history if (found := parts(row))]
    there = [part for part in WORDS if any(part in found for found in told)]
    return {part: statistics.mean(found.get(part, 0.0) for found in told) for part in there}


def notable(metrics: Mapping[str, float]) -> str:
    """In a few words what else than learning took a large share of an epoch, and that parts of the model were compiled
    again: "data wait 31 %, compiled again 12 times"; else nothing."""
    told = parts(metrics)
    whole = sum(told.values())
    shares = {part: told[part] / whole for part in NOTABLE if part in told and whole > 0}
    said = [f"{WORDS[part]} {100 * share:.0f} %" for part, share in shares.items() if share >= NOTABLE[part]]
    if again := metrics.get("recompiled"):
        said.append(f"compiled again {again:.0f} time{'s' * (again > 1)}")
    return ", ".join(said)
