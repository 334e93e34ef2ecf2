"""`capetune data …`: look at, make and pack data sets."""

from __future__ import annotations

import typer

app = typer.Typer(help="Check, make, pack and look at data sets.", no_args_is_help=True)
