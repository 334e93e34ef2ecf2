"""Interleaved timing: ours and its floor take turns in one run, so that a noisy machine is noisy for both."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torchvision
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


def interleave(work: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each piece of work over `rounds` turns, after one turn that isn't counted."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + 1):
        for name, run in work.items():
            begun = time.perf_counter()
            run()
            if turn:
                times[name].append(time.perf_counter() - begun)
    return {name: statistics.median(values) for name, values in times.items()}


def publish(
    name: str, values: dict[str, float], floor: str, facts: dict[str, Any], save: bool, unit: str = "s"
) -> None:
    """A table, and one line of JSON; with `save`, the line is added to results/NAME.jsonl too.

    values: median of each piece of work, in `unit`. facts: what was measured, and `reach`, the ratio to the floor that
    each piece of work is to stay under.
    """
    table = Table("work", unit, f"× {floor}", "reach", title=name, title_justify="left")
    for work, value in values.items():
        reach = facts["reach"].get(work)
        table.add_row(work, f"{value:.4g}", f"{value / values[floor]:.2f}", f"{reach:.2f}" if reach else "")
    Console().print(table)
    facts |= {"machine": f"{platform.machine()}, {torch.get_num_threads()} threads"}
    facts |= {"torch": torch.__version__, "torchvision": torchvision.__version__}
    ratio = {work: value / values[floor] for work, value in values.items()}
    record(name, {"benchmark": name, "unit": unit, "values": values, "ratio": ratio, "floor": floor, **facts}, save)


def record(name: str, row: dict[str, Any], save: bool) -> dict[str, Any]:
    """Print the row as one line of JSON with the day's date; with `save`, add it to results/NAME.jsonl too."""
    row = {**row, "date": datetime.now(UTC).date().isoformat()}
    line = json.dumps(row)
    print(line, flush=True)
    if save:
        RESULTS.mkdir(exist_ok=True)
        with (RESULTS / f"{name}.jsonl").open("a") as stream:
            stream.write(line + "\n")
    return row


def parser(description: str) -> argparse.ArgumentParser:
    """With what every benchmark takes."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--save", action="store_true", help="add the results to benchmarks/results/")
    return made


def parsed(made: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments given, after torch was told its threads."""
    arguments = made.parse_args()
    torch.set_num_threads(arguments.threads)
    return arguments


def options(description: str, rounds: int) -> argparse.Namespace:
    """The arguments of a benchmark that takes turns."""
    made = parser(description)
    made.add_argument("--rounds", type=int, default=rounds)
    return parsed(made)
