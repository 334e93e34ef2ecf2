"""Options that several commands share, and what they print before they start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from capetune.cluster.machines import Cluster
    from capetune.datasets.packs.reader import Pack
    from capetune.runs.record import Run

Data = typer.Option(
    "synthetic", "--data", metavar="PACK", help="A pack, or `synthetic`: the built-in set, made on first use."
)
PRESETS = (
    "tiny: the paper's ResNet-50 at 512 px for 5 epochs, no small model; full: that for 300; paper: its exact setting; "
    "demo: a small model for two CPU cores."
)
Preset = typer.Option("tiny", "--preset", help=PRESETS)
MaybePreset = typer.Option(None, "--preset", help=f"{PRESETS} Default: tiny.")  # where not giving one matters
ConfigFile = typer.Option(None, "--config", metavar="FILE", help="YAML file with any part of the configuration.")
Settings = typer.Option([], "--set", metavar="KEY=VALUE", help="One configuration key; may be repeated.")
Runs = typer.Option(Path("runs"), "--runs", metavar="DIR", help="Where runs are kept.")
Name = typer.Option(None, "--name", help="The run's name; default: made from what is run.")
Rank = typer.Option(1, "--rank", min=1, help="With a search: its best trial is 1, the second best 2.")
Split = typer.Option(None, "--split", min=1, max=5, help="MP-100 split; default: the configuration's data.split.")
Address = typer.Option(
    None, "--address", envvar="RAY_ADDRESS", help="A running Ray cluster to join; default: start Ray here."
)
Verbose = typer.Option(False, "--verbose", "-v", help="Show what Ray and its workers print.")


def console(err: bool = False, columns: int = 120) -> Console:
    """On stdout or stderr, as wide as the terminal or, where there is none, `columns`, since tables are for reading.

    Names and paths are data: nothing in what it prints, in tables either, is read as markup. Styles are given as such,
    to rich's Text and tables.
    """
    import sys

    from rich.console import Console

    width = None if (sys.stderr if err else sys.stdout).isatty() else columns
    return Console(stderr=err, width=width, markup=False, highlight=False, emoji=False)


def open_data(data: str, console: Console) -> Pack:
    from capetune.datasets import builtin
    from capetune.reports.progress import progress_bar

    with progress_bar() as bar:
        return builtin.open_data(data, lambda line: console.print(line, soft_wrap=True), bar)


@contextmanager
def recorded(run: Run, facts: Mapping[str, Any], again: str, console: Console) -> Iterator[None]:
    """Keep `run.json` true: running, then completed, interrupted or failed. Interrupted, it says how to go on."""
    run.save("running", **facts)
    try:
        yield
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        with suppress(OSError):  # a full disk: what matters is the error
            run.save("interrupted" if interrupted else "failed")
        if interrupted:
            console.print(f"go on with it: {again}", soft_wrap=True, highlight=False)
        raise
    run.save("completed")


def say_cluster(cluster: Cluster, console: Console) -> None:
    token = f" (token in {cluster.token})" if cluster.token else ""
    console.print(
        f"Ray: {cluster.cpus} CPUs, {cluster.gpus} GPUs; dashboard {cluster.dashboard}{token}", soft_wrap=True
    )


def say_data(facts: dict[str, Any], console: Console) -> None:
    missing = {part: names for part, names in facts["missing_categories"].items() if names}
    note = "; missing: " + "; ".join(f"{p} {', '.join(n)}" for p, n in missing.items()) if missing else ""
    what = f"data: {facts['data']}, split {facts['split']}, {facts['train_instances']} train instances{note}"
    console.print(
        f"{what}  {facts['pack']}",
        soft_wrap=True,
        highlight=False,
    )
