"""Interleaved timing: ours and its floor take turns in one run, so that a noisy machine is noisy for both."""

from __future__ import annotations

import argparse
import ctypes
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

from capetune.models.memory import keep_freed_memory

RESULTS = Path(__file__).parent / "results"
LIBC = ctypes.CDLL(None)
THRESHOLD = 32 * 2**20  # bytes; as far as glibc raises it by itself


def interleave(work: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each piece of work in each of `rounds` turns, after one that isn't counted. Who begins changes."""
    times: dict[str, list[float]] = {name: [] for name in work}
    order = list(work)
    for turn in range(rounds + 1):
        for name in order:
            begun = time.perf_counter()
            work[name]()
            if turn:
                times[name].append(time.perf_counter() - begun)
        order.append(order.pop(0))
    return times


def usual(work: Callable[[], Any]) -> Callable[[], None]:
    """The same work as in a process without capetune: glibc gives freed buffers above its threshold back."""

    def run() -> None:
        keep_freed_memory.__wrapped__(THRESHOLD)
        if hasattr(LIBC, "malloc_trim"):
            LIBC.malloc_trim(0)  # nor does it find what the others have kept
        work()
        keep_freed_memory.__wrapped__()

    return run


def publish(
    name: str, values: dict[str, list[float]], floor: str, facts: dict[str, Any], save: bool, unit: str = "s"
) -> None:
    """A table, and one line of JSON; with `save`, the line is added to results/NAME.jsonl too.

    values: of each piece of work in each turn, in `unit`. The ratio to the floor is the median over the turns, so that
    a neighbour who comes and goes between them changes little. facts: what was measured, and `reach`, the ratio that
    each piece of work is to stay under.
    """
    medians = {work: statistics.median(turns) for work, turns in values.items()}
    ratio = {
        work: statistics.median(mine / its for mine, its in zip(turns, values[floor], strict=True))
        for work, turns in values.items()
    }
    table = Table("work", unit, f"× {floor}", "reach", title=name, title_justify="left")
    for work, value in medians.items():
        reach = facts["reach"].get(work)
        table.add_row(work, f"{value:.4g}", f"{ratio[work]:.2f}", f"{reach:.2f}" if reach else "")
    Console().print(table)
    record(name, {"benchmark": name, "unit": unit, "values": medians, "ratio": ratio, "floor": floor, **facts}, save)


def record(name: str, row: dict[str, Any], save: bool) -> dict[str, Any]:
    """Print the row, with machine, versions and day, as one line of JSON; with `save`, add it to results/NAME.jsonl."""
    kind = torch.backends.cpu.get_cpu_capability()
    row = row | {"machine": f"{platform.machine()}, {kind}, {torch.get_num_threads()} threads"}
    row |= {"torch": torch.__version__, "torchvision": torchvision.__version__}
    row |= {"date": datetime.now(UTC).date().isoformat()}
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
