"""JSON files in a run's folder: input like any other, for anybody may have been at them."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from capetune.errors import UserError


class Odd(ValueError):
    """What is wrong with a file, in words that follow its name."""


def read_tree(file: Path) -> Any:
    """What stands in a JSON file. Raises Odd where it is cut, nested too deeply or no text, FileNotFoundError where it
    isn't there."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Odd(f"can't be read ({error.strerror or error})") from None
    try:
        return json.loads(content)
    except RecursionError:
        raise Odd("is nested too deeply") from None
    except ValueError as error:
        raise Odd("is empty" if not content.strip() else f"is cut or no JSON ({error})") from None


def read_checked(file: Path, kind: TypeAdapter[Any]) -> Any:
    """The same, where it is of that kind; numbers as text are none. Raises Odd too where it isn't."""
    tree = read_tree(file)
    try:  # a path's name may hold bytes that are no text, and JSON's half of a sign for each: pydantic takes none
        kind.validate_json(json.dumps(tree, ensure_ascii=False).encode(errors="replace"), strict=True)
    except RecursionError:
        raise Odd("is nested too deeply") from None
    except ValidationError as error:
        raise Odd(f"is odd: {_plain(error)}") from None
    return tree


def _plain(error: ValidationError) -> str:
    """The first of what is wrong, in words that a file's owner knows."""
    first = error.errors()[0]
    where, said = ".".join(map(str, first["loc"])) or "it", first["msg"]
    if first["type"] == "missing":
        return f"{where} is missing"
    return f"{where} {said.removeprefix('Input ')}" if said.startswith("Input should") else f"{where}: {said}"


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
