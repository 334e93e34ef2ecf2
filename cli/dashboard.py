"""`capetune dashboard`: a search in optuna-dashboard."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import typer

from capetune.cli import common
from capetune.errors import UserError


def command(
    optuna: str = typer.Option(..., "--optuna", metavar="NAME", help="The search to open."),
    port: int = typer.Option(8080, "--port", min=1, max=65535, help="On loopback."),
    runs: Path = common.Runs,
) -> None:
    """Open a search's study in optuna-dashboard, while it runs or after. Needs pip install 'capetune[dashboard]'.

    Ray's own dashboard needs no command: its address is printed when a search starts.

    Example:

      capetune dashboard --optuna decoder-20261123-081500
    """
    from capetune.runs.registry import find_run

    run = find_run(runs, optuna, "search")
    if find_spec("optuna_dashboard") is None:
        raise UserError("the dashboard needs optuna-dashboard: pip install 'capetune[dashboard]'")
    from optuna_dashboard import run_server

    from capetune.tuning.study import open_storage

    storage = open_storage(run.folder, run.facts.get("storage"))
    print(f"optuna-dashboard of {run.name}: http://127.0.0.1:{port}/ (Ctrl-C ends it)", flush=True)
    run_server(storage, host="127.0.0.1", port=port)
