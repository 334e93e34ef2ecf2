"""How the readers open files: what is broken is said with the file and the place in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar
from xml.etree import ElementTree

from pydantic import BaseModel, TypeAdapter, ValidationError

from capetune.errors import UserError

T = TypeVar("T", bound=BaseModel)


def files(source: Path, *patterns: str) -> list[Path]:
    """The file itself, or those of a folder that fit, sorted. Raises UserError where there are none."""
    if source.is_file():
        return [source]
    found = sorted({path for pattern in patterns for path in source.glob(pattern) if path.is_file()})
    if not found:
        raise UserError(f"{source} holds no {' or '.join(patterns)}; give the file or folder that the tool exported")
    return found


def read_text(path: Path) -> str:
    """Raises UserError where it can't be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror or error}); give another file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8 ({error}); export it again") from None


def read_json(path: Path) -> Any:
    """Raises UserError where it is no JSON."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}); export it again") from None


def read_xml(path: Path) -> ElementTree.Element:
    """The root. Raises UserError where it is no XML."""
    text = read_text(path)
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{path} is not XML ({error}); export it again") from None


def fitting(kind: type[T], tree: Any, place: Path | str) -> T:
    """The tree as a model. Raises UserError with the first value that doesn't fit."""
    return _fitted(TypeAdapter(kind), tree, place)


def all_fitting(kind: type[T], tree: Any, place: Path | str) -> list[T]:
    """The same of a list."""
    return _fitted(TypeAdapter(list[kind]), tree, place)  # type: ignore[valid-type]


def _fitted(adapter: TypeAdapter, tree: Any, place: Path | str) -> Any:
    try:
        return adapter.validate_python(tree)
    except ValidationError as error:
        first = error.errors()[0]
        within = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        raise UserError(f"{place}, {within or 'its outermost value'}: {first['msg']}; export it again") from None
