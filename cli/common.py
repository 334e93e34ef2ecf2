"""Options that several commands share, and how a command runs its verb."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

from capetune.cli.asked import hand_over

if TYPE_CHECKING:
    from rich.console import Console

    from capetune.datasets.packs.reader import Pack


class Tracker(StrEnum):
    mlflow = "mlflow"
    wandb = "wandb"


PRESETS = (
    "tiny: the paper's ResNet-50 at 512 px for 5 epochs, no small model; full: that for 300; paper: its exact setting; "
    "demo: a small model for two CPU cores."
)
Preset = typer.Option("tiny", "--preset", help=PRESETS)
MaybePreset = typer.Option(None, "--preset", help=f"{PRESETS} Default: tiny.")  # where not giving one matters
ConfigFile = typer.Option(None, "--config", metavar="FILE", help="YAML file with any part of the configuration.")
Settings = typer.Option([], "--set", metavar="KEY=VALUE", help="One configuration key; may be repeated.")
CacheFeatures = typer.Option(
    0,
    "--cache-features",
    metavar="COPIES",
    help="Compute a frozen backbone's features once, of so many augmented copies (16 is good), and train on them.",
)
Features = typer.Option(
    None, "--features", metavar="DIR", help="Where kept features lie, for several runs; default: the run, to its end."
)
Runs = typer.Option("runs", "--runs", metavar="DIR", help="Where runs are kept: a folder, s3://…, gs://….")
Track = typer.Option(
    None, "--track", help="Send every epoch to MLflow or Weights & Biases too (pip install 'capetune[mlflow]')."
)
OnEnd = typer.Option(None, "--on-end", metavar="CMD", help="Run this at the end, however it ends: docs/search.md.")
Name = typer.Option(None, "--name", help="The run's name; default: made from what is run.")
Cpus = typer.Option(None, "--cpus", min=1, help="CPUs of this machine to use; default: all that it leaves us.")
AtOnce = typer.Option(None, "--at-once", min=1, help="How many may run at a time; default: all that there is room for.")
Rank = typer.Option(1, "--rank", min=1, help="With a search: its best trial is 1, the second best 2.")
Split = typer.Option(None, "--split", min=1, max=5, help="MP-100 split; default: the configuration's data.split.")
Address = typer.Option(
    None, "--address", envvar="RAY_ADDRESS", help="A running Ray cluster to join; default: start Ray here."
)
Dashboard = typer.Option(
    None,
    "--address",
    metavar="URL",
    help="The cluster's dashboard, such as http://head:8265; default: RAY_API_SERVER_ADDRESS, else this machine's.",
)
TokenFile = typer.Option(None, "--token-file", metavar="FILE", help="Holds the token that the cluster asks for.")
Verbose = typer.Option(False, "--verbose", "-v", help="Show what Ray and its workers print.")
Json = typer.Option(False, "--json", help="Print each event as a line of JSON, and the result as the last.")


def console(err: bool = False, columns: int = 120) -> Console:
    from capetune.reports.console import console

    return console(err, columns)


def say(*lines: str) -> None:
    """On stdout, not folded."""
    console().print("\n".join(lines), soft_wrap=True)


def warn(*lines: str) -> None:
    """On stderr, not folded."""
    for line in lines:
        console(err=True).print(f"warning: {line}", soft_wrap=True)


def open_data(data: str) -> Pack:
    """What is made meanwhile is said on stderr."""
    from capetune.reports.screen import Screen
    from capetune.service.steps import open_data

    with Screen(console(err=True)) as screen:
        return open_data(data, screen.hear)


def asked(context: typer.Context, *not_asked: str) -> dict[str, Any]:
    """The command's options by their names, which are the request's; without those about the output."""
    return {name: value for name, value in context.params.items() if name not in ("as_json", *not_asked)}


def run(verb: Any, request: Any, as_json: bool = False, err: bool = False, progress: bool = True) -> Any:
    """Run a verb of `capetune.service` and show what happens meanwhile, on stdout unless `err`. Returns its result.

    as_json: as lines of JSON in place of tables, with those of `progress` or without; the result is the last line then.
    """
    import json
    import sys

    hand_over(request)
    if as_json:
        from capetune.reports.lines import Lines

        result = verb.run(request, Lines(sys.stdout, progress).hear)
        print(json.dumps({"event": "result", **result.to_json()}))
        return result
    from capetune.reports.screen import Screen

    with Screen(console(err)) as screen:
        return verb.run(request, screen.hear)
