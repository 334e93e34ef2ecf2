"""Which sampler and scheduler searches well? Searches of recorded curves (`curves.py`), against random search at full
budget: the share of its epochs after which as good a trial is found, by places that trials have side by side.

`replay.py` says what is real in them. Nothing is trained.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from curves import EPOCHS, TABLE, space_of
from harness import parsed, parser, record
from replay import Replay, Surrogate
from rich.console import Console
from rich.table import Table

from capetune.config import Config
from capetune.tuning.space import Space

SAMPLERS = ("random", "tpe", "gp", "cmaes")
SCHEDULERS = ("none", "asha", "asha promote", "median", "hyperband")
HEADER = "sampler: {sampler}\nscheduler: {{name: {scheduler}, grace: {grace}, factor: {factor}}}\n"


def epochs_to(replay: Replay, goal: float) -> int | None:
    """How many epochs, over all trials in order, until one had at least that score; None: never."""
    return next((epoch for epoch, score in enumerate(replay.scores(), start=1) if score >= goal), None)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--seeds", type=int, default=30)
    made.add_argument("--random", type=int, default=100, help="Trials of random search, each to its last epoch.")
    made.add_argument("--samplers", nargs="+", default=SAMPLERS)
    made.add_argument("--schedulers", nargs="+", default=SCHEDULERS)
    made.add_argument("--places", nargs="+", type=int, default=[1, 4, 16, 64])
    made.add_argument("--grace", type=int, default=1)
    made.add_argument("--factor", type=int, default=3)
    made.add_argument("--foresee", action="store_true", help="Samplers see what stopped and running trials may reach.")
    made.add_argument("--table", type=Path, default=TABLE)
    arguments = parsed(made)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)

        @cache
        def space(sampler: str, scheduler: str) -> tuple[Space, Config]:
            header = HEADER.format(sampler=sampler, scheduler=scheduler, grace=arguments.grace, factor=arguments.factor)
            return space_of(root, header)

        def replay(sampler: str, scheduler: str, places: int, seed: int, budget: int) -> Replay:
            name = scheduler.removesuffix(" promote")
            foresee = arguments.foresee and sampler != "random"
            return Replay(*space(sampler, name), surrogate, places, seed, budget, name != scheduler, foresee)

        surrogate = Surrogate(space_of(root)[0], arguments.table)
        print(honesty(surrogate))
        budget = arguments.random * EPOCHS
        told = [list(replay("random", "none", 1, 1000 + seed, budget).scores()) for seed in range(arguments.seeds)]
        goals = [max(scores) for scores in told]
        reached = sorted(scores.index(goal) % EPOCHS + 1 for scores, goal in zip(told, goals, strict=True))
        print("epoch of its trial at which random's best score came:", *reached)
        table = Table("sampler", "scheduler", *(f"{places} places" for places in arguments.places), "seconds")
        for sampler in arguments.samplers:
            for scheduler in arguments.schedulers:
                begun, cells = time.monotonic(), []
                facts: dict[str, Any] = {
                    "sampler": sampler,
                    "scheduler": scheduler,
                    "budget": budget,
                    "seeds": arguments.seeds,
                    "foresee": arguments.foresee,
                }
                for places in arguments.places:
                    searches = (replay(sampler, scheduler, places, seed, budget) for seed in range(arguments.seeds))
                    needed = [epochs_to(search, goal) for search, goal in zip(searches, goals, strict=True)]
                    missed = needed.count(None)
                    median = statistics.median((budget if n is None else n) / budget for n in needed)
                    facts[f"{places}"] = [round(median, 3), missed, round(statistics.mean(n or budget for n in needed))]
                    cells.append(f"{median:.2f}" + f" ({missed} missed)" * (missed > 0))
                record("replay", facts, arguments.save)
                table.add_row(sampler, scheduler, *cells, f"{time.monotonic() - begun:.0f}")
    Console(width=120).print(table)
    print(f"median share of {budget} epochs over {arguments.seeds} seeds; aim 0.15, none missed; at 64 ≤ 1.5 × at 1")


def honesty(surrogate: Surrogate) -> str:
    """How far the replayed curves may be believed."""
    spread, error = (float(np.std(part[:, -1])) for part in (surrogate.curves, surrogate.errors))
    chance = float(np.sqrt((surrogate.chance[:, -1] ** 2).mean()))
    better = surrogate.paired >= np.median(surrogate.paired)
    good = float(np.sqrt((surrogate.chance[better, -1] ** 2).mean()))
    return (
        f"{len(surrogate.points)} points, {surrogate.diverged} trainings diverged and left out; of the last epoch's "
        f"scores: deviation {spread:.4f}, of the left-out points' from the surrogate {error:.4f}, of a worse seed "
        f"{chance:.4f} ({good:.4f} of the better half)"
    )


if __name__ == "__main__":
    main()
