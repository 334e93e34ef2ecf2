"""`capetune data …`: look at, make and pack data sets."""

from __future__ import annotations

import typer

from capetune.cli import data_check, data_pack, data_show, data_synth

app = typer.Typer(help="Check, make, pack and look at data sets.", no_args_is_help=True)
app.command("synth")(data_synth.command)
app.command("check")(data_check.command)
app.command("pack")(data_pack.command)
app.command("show")(data_show.command)
