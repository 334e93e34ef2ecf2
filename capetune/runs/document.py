"""JSON files in a run's folder: input like any other, for anybody may have been at them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from capetune.errors import UserError

Kind = TypeVar("Kind")


class Odd(ValueError):
    """What is wrong with a file, in words that follow its name."""


def read_tree(file: Path) -> Any:
    """What stands in a JSON file. Raises Odd where it is cut, nested too deeply or no text, FileNotFoundError where it
    isn't there."""
    content = _content(file)
    try:
        return from_json(content)
    except ValueError as error:
        raise Odd("is empty" if not content.strip() else f"is cut or no JSON ({error})") from None


def read_typed(file: Path, kind: TypeAdapter[Kind]) -> Kind:
    """The same as a value of that kind; numbers as text are none. Raises Odd too where it isn't one."""
    read_tree(file)
    try:
        return kind.validate_json(_content(file), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise Odd(f"is odd: {where}: {message}" if where else f"is odd: {message}") from None


def inside(folder: Path, recorded: str, record: Path) -> Path:
    """Where a path lies that a record in a run's folder gives. Raises UserError where it leads out: up, from the root,
    or by a link."""
    path = folder / recorded
    try:
        within = path.resolve().is_relative_to(folder.resolve())
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except (OSError, ValueError, RuntimeError):  # too long, a null byte, a link in a circle
        within = False
    if not within:
        raise UserError(f"{record}: {recorded[:200]!r} leads out of the run's folder or nowhere; put it right")
    return path


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Odd(f"can't be read ({error.strerror or error})") from None
