"""What a command would run: its request, without running it."""

from __future__ import annotations

from typing import Any

from capetune.errors import UserError

_wanted = False


class _Asked(Exception):
    """Carries the request out of the command."""


def hand_over(request: Any) -> None:
    """Called before a request is run: it isn't, where only the request is wanted."""
    if _wanted:
        raise _Asked(request)


def asked_by(words: list[str]) -> Any:
    """The request that a command of these words would run. Raises UserError where it would run none."""
    global _wanted
    from capetune.cli.main import app

    _wanted = True
    try:
        app(words, standalone_mode=False)
    except _Asked as asked:
        return asked.args[0]
    finally:
        _wanted = False
    raise UserError(f"there is nothing to send: capetune {' '.join(words)} runs nothing")
