"""What becomes of an error: one line on stderr and an exit code. Typer's own are worded as ours are."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import Any, NoReturn

import typer

from capetune.errors import UserError


def run(app: typer.Typer, received: list[signal.Signals]) -> NoReturn:
    """Runs the command that was asked for, and leaves with its exit code. `received`: the signals that were heeded."""
    try:
        code = app(standalone_mode=False) or 0
    except UserError as error:
        _fail(str(error), 2)
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        if hasattr(error, "format_message"):  # an error of typer's own: a wrong option, a missing argument
            _usage(error)
        bug = "a bug in capetune: run `capetune --debug …` for the traceback"
        _fail(f"{type(error).__name__}: {error} ({bug})", 1)
    if code == 130:  # what typer makes of a KeyboardInterrupt
        _fail("interrupted", 128 + received[0])
    sys.exit(code)


def _usage(error: Any) -> NoReturn:
    message = error.format_message()
    if "\n" in message:  # the help, where a command was wanted
        print(message, file=sys.stderr)
        sys.exit(2)
    context = getattr(error, "ctx", None)
    _fail(f"{message.rstrip('.')}; see `{context.command_path} --help`" if context else message, 2)


def _fail(message: str, code: int) -> NoReturn:
    if os.environ.get("CAPETUNE_DEBUG"):
        traceback.print_exc()
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
