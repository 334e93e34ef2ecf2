"""Paths of this machine, as options give them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from capetune.errors import UserError


def keep_local(*groups: typer.Typer) -> None:
    """Let every command of the groups refuse an address where it wants a path: as a path, `s3://bucket` is a folder
    named `s3:`."""
    for group in groups:
        for each in (*group.registered_commands, group.registered_callback):
            if each is not None and each.callback is not None:
                each.callback = _checked(each.callback)


def _checked(command: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(command)
    def checked(*given: Any, **values: Any) -> None:
        for name, value in values.items():
            if isinstance(value, Path) and value.parts and value.parts[0].endswith(":"):
                address = str(value).replace(":/", "://", 1)
                option = f"--{name.replace('_', '-')}"
                raise UserError(f"{option} {address}: wanted is a path of this machine, not an address")
        command(*given, **values)

    return checked
