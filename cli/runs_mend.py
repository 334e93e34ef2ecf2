"""`capetune runs mend`: a damaged record made anew."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common


def command(name: str = typer.Argument(...), runs: Path = common.Runs) -> None:
    """Make a run's damaged run.json anew of what lies beside it, and a search's results.json of its trials' own files.

    What can't be found any more is said. What stood there stays beside it, its name ending in .damaged. The run then
    goes on, or is shown, as any other.

    Example:

      capetune runs mend decoder-20261123-081500
    """
    from capetune.service.mend import mend

    mended = mend(runs, name)
    made = [f"made anew: {file}" for file in mended.made] or [f"{name} needs no mending"]
    common.say(*made, *(f"lost: {line}" for line in mended.lost))
