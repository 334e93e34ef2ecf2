"""`capetune runs mend`: a damaged record made anew."""

from __future__ import annotations

import typer

from capetune.cli import common


def command(name: str = typer.Argument(...), runs: str = common.Runs) -> None:
    """Make a run's damaged run.json anew of what lies beside it, and a search's results.json of its trials' own files.

    What can't be found any more is said. What stood there stays beside it, its name ending in .damaged. The run then
    goes on, or is shown, as any other.

    Example:

      capetune runs mend decoder-20261123-081500
    """
    from capetune.runs.home import at_home
    from capetune.service.mend import mend
    from capetune.storage.scratch import named

    with at_home(runs) as home:
        mended = mend(home, name)
    made = [f"made anew: {file}" for file in mended.made] or [f"{name} needs no mending"]
    common.say(*map(named, [*made, *(f"lost: {line}" for line in mended.lost)]))
