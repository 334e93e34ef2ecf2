"""What a verb is asked to do: frozen, checked, and JSON there and back, for other processes read it, and later ones.

Every verb's request has the names of its command's options. Compatible is a new field with a default; anything else is
another `version`.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from capetune.config import Config, load_config
from capetune.errors import UserError
from capetune.storage.address import is_address


def _settings(value: Any) -> Any:
    """{"train.epochs": 3}, as Python has it, is `--set train.epochs=3`."""
    return [f"{key}={json.dumps(v)}" for key, v in value.items()] if isinstance(value, Mapping) else value


Settings = Annotated[tuple[str, ...], BeforeValidator(_settings)]


def _where(value: Any) -> Path | str:
    if not isinstance(value, str | Path):
        raise ValueError("wanted is a path or an address")
    return str(value) if is_address(value) else Path(value)


def _names(value: Any) -> Any:
    """One name alone is a list of it."""
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Where = Annotated[Path | str, PlainValidator(_where)]  # a path, or an address, which stays text
Split = Annotated[int, Field(ge=1, le=5)]
Count = Annotated[int, Field(ge=1)]


def numbers(value: Any) -> Any:
    """ "1-3,5" → (1, 2, 3, 5), each once; 1 → (1,); another value as it is."""
    if isinstance(value, int):
        return (value,)
    if not isinstance(value, str):
        return value
    found: list[int] = []
    for piece in value.split(","):
        first, dash, last = piece.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError("wants numbers such as 1,5 or 1-5")
        found += range(int(first), int(last if dash else first) + 1)
    return tuple(dict.fromkeys(found))


Numbers = Annotated[tuple[int, ...], BeforeValidator(numbers)]
Splits = Annotated[tuple[Split, ...], BeforeValidator(numbers)]


def _several(value: Any) -> Any:
    """One is one of several; None, as older requests have it, is none."""
    return () if value is None else (value,) if isinstance(value, str | Path) else value


Wheres = Annotated[tuple[Where, ...], BeforeValidator(_several)]


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    version: Literal[1] = 1
    runs: Where = Path("runs")

    @property
    def runs_folder(self) -> Path:
        """`runs`, once `service.steps.housed` has put a folder in place of an address."""
        assert isinstance(self.runs, Path)
        return self.runs

    @field_validator("*", mode="before")
    @classmethod
    def _local(cls, value: Any, info: ValidationInfo) -> Any:
        """As a path, `s3://bucket` would be a folder named `s3:`."""
        wanted = str(cls.model_fields[str(info.field_name)].annotation)
        if "Path" in wanted and "str" not in wanted and is_address(value):
            raise ValueError("wanted is a path of this machine")
        return value

    @classmethod
    def of(cls, **fields: Any) -> Self:
        """A request of these fields. Raises UserError, in one line, where one is unknown or doesn't fit."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise UserError(_line(error, cls)) from None

    def given(self) -> dict[str, Any]:
        """The fields that say something: those that differ from the defaults, by their options' names."""
        fields = self.model_dump(exclude_defaults=True, exclude={"version", "verb"})
        return {option(name): value for name, value in fields.items()}


class Configured(Request):
    """A request that may begin with a configuration of its own."""

    split: Split | None = None
    preset: str | None = None
    config: Path | None = None
    set: Settings = ()

    @property
    def settings(self) -> list[str]:
        """`set`, and `split` as one of them."""
        return [*self.set, *([] if self.split is None else [f"data.split={self.split}"])]

    def configuration(self, base: Config | None = None) -> Config:
        """base: stands in the preset's place. Raises UserError where a file, a key or a value of it is wrong."""
        return load_config(self.preset or "tiny", self.config, self.settings, base)


def option(field: str) -> str:
    return f"--{field.strip('_').replace('_', '-')}"  # from_, for `from` is Python's


def _line(error: ValidationError, kind: type[Request]) -> str:
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else kind.__name__
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, kind.model_fields, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(kind.model_fields)}"
        verb = kind.model_fields.get("verb")
        where = f"request to {verb.default}" if verb else kind.__name__.removesuffix("Request").lower()
        return f"there is no {name!r} in a {where}; {hint}"
    return f"{option(name)}: {first['msg'].removeprefix('Value error, ')}, not {first['input']!r}"
