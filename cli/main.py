"""The `capetune` program: registers the commands and turns errors into one line and an exit code.

Nothing here or at the top of a command's file may import torch, ray or numpy: `capetune --help` must start fast.
"""

from __future__ import annotations

import os
import sys
import traceback

import typer

from capetune.cli import config, data, demo, eval, search, train
from capetune.errors import UserError

app = typer.Typer(
    name="capetune",
    help="Search, train and evaluate category-agnostic pose estimators on MP-100, with Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data.app, name="data")
app.command("config")(config.command)
app.command("search")(search.command)
app.command("train")(train.command)
app.command("eval")(eval.command)
app.command("demo")(demo.command)


@app.callback()
def options(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Search, train and evaluate category-agnostic pose estimators on MP-100, with Ray."""
    if debug:
        os.environ["CAPETUNE_DEBUG"] = "1"


def run() -> None:
    """Entry point. Exit codes: 0 done, 1 our bug, 2 bad input (one line on stderr), 130 interrupted."""
    try:
        app()
    except UserError as error:
        _fail(str(error), 2)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except Exception as error:
        _fail(
            f"{type(error).__name__}: {error} (a bug in capetune: run `capetune --debug …` for the traceback)",
            1,
        )


def _fail(message: str, code: int) -> None:
    if os.environ.get("CAPETUNE_DEBUG"):
        traceback.print_exc()
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
