"""Search spaces: a YAML file of dotted configuration keys, each with the values to try."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from capetune.config import Config, check_key, read_yaml
from capetune.errors import UserError

BUILT_IN = Path(__file__).parents[1] / "search_spaces"
optuna.logging.set_verbosity(optuna.logging.ERROR)  # it announces every study and trial
POINTS = 100  # drawn to see whether values go together
KINDS = ("choice", "int", "int_log", "uniform", "log")


@dataclass(frozen=True)
class Space:
    """parameters: dotted key → optuna distribution, in the file's order. source: where it was read."""

    parameters: dict[str, BaseDistribution]
    source: Path

    def default(self, config: Config) -> dict[str, Any]:
        """The values that `config` has for this space's keys: what trial 0 tries.

        Raises UserError where one lies outside its range: the sampler couldn't place it.
        """
        point = {}
        for key, distribution in self.parameters.items():
            value: Any = config
            for name in key.split("."):
                value = getattr(value, name)
            value = _plain(list(value) if isinstance(value, tuple) else value)
            if not _inside(distribution, value):
                raise UserError(
                    f"{self.source}: the configuration's {key} = {value} lies outside {describe(distribution)}; "
                    f"widen the range, or start from another value with --set {key}=…"
                )
            point[key] = value
        return point


def built_in_spaces() -> list[str]:
    return sorted(path.name for path in BUILT_IN.glob("*.yaml"))


def load_space(name: str | Path, config: Config) -> Space:
    """A space from a file or, where there is no such file, a built-in one of that name.

    Each key must exist in the configuration tree and take every bound or choice, and points drawn all over the space
    must be whole valid configurations. Raises UserError, naming the line or the values that don't go together.
    """
    path = Path(name)
    if not path.is_file():
        path = BUILT_IN / path.with_suffix(".yaml").name
    if not path.is_file():
        near = difflib.get_close_matches(Path(name).with_suffix(".yaml").name, built_in_spaces(), 1)
        hint = f"did you mean {near[0]}?" if near else f"built in are {', '.join(built_in_spaces())}"
        raise UserError(f"there is no search space {name}; {hint}")
    tree = read_yaml(path)
    if not isinstance(tree, Mapping) or not tree:
        raise UserError(f"{path}: a search space maps keys to ranges, such as 'loss.tokens: {{log: [0.1, 2]}}'")
    lines = _lines(path)
    parameters = {}
    for key, spec in tree.items():
        try:
            check_key(str(key))
            parameters[key] = _distribution(spec)
            for value in _extremes(parameters[key]):
                _check_alone(key, value, config)
        except UserError as error:
            raise UserError(f"{path}, line {lines.get(str(key), '?')}: {key}: {error}") from None
    _check_together(parameters, config, path)
    return Space(parameters, path)


def _check_alone(key: str, value: Any, config: Config) -> None:
    try:
        config.with_overrides({key: value})
    except UserError as error:
        if str(error).startswith(f"{key}: "):  # else it is about another key too, whose own range may suit
            raise UserError(str(error).removeprefix(f"{key}: ")) from None


def _check_together(parameters: dict[str, BaseDistribution], config: Config, path: Path) -> None:
    """Values may each be right and yet not go together, as a width and a number of heads."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(POINTS):
        point = study.ask(parameters).params
        try:
            config.with_overrides(point)
        except UserError as error:
            values = ", ".join(f"{key}={value}" for key, value in point.items())
            raise UserError(f"{path}: values that don't go together, such as {values}: {error}") from None


def _lines(path: Path) -> dict[str, int]:
    """The line at which each key of a YAML mapping stands."""
    root = yaml.compose(path.read_text())
    assert isinstance(root, yaml.MappingNode)
    return {node.value: node.start_mark.line + 1 for node, _ in root.value}


def describe(distribution: BaseDistribution) -> str:
    """The range in words, as in the file."""
    if isinstance(distribution, CategoricalDistribution):
        return f"choice {list(distribution.choices)}"
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    whole = isinstance(distribution, IntDistribution)
    kind = ("int_log" if whole else "log") if distribution.log else ("int" if whole else "uniform")
    return f"{kind} [{distribution.low:g}, {distribution.high:g}]"


def _distribution(spec: Any) -> BaseDistribution:
    if not isinstance(spec, Mapping):
        raise UserError(f"wants a mapping such as {{int: [2, 6]}}, not {spec!r}")
    kinds = [kind for kind in spec if kind in KINDS]
    unknown = [str(key) for key in spec if key not in (*KINDS, "step")]
    if len(kinds) != 1 or unknown:
        what = f"there is no {unknown[0]!r}" if unknown else f"{len(kinds)} kinds of range"
        raise UserError(f"{what}; give one of {', '.join(KINDS)}, and step if wanted")
    kind, step = kinds[0], spec.get("step")
    values = spec[kind]
    if kind == "choice":
        if not isinstance(values, list) or not values or step is not None:
            raise UserError(f"choice wants a list with at least one value and no step, not {values!r}")
        if not all(isinstance(value, str | int | float | list | None) for value in values):
            raise UserError(f"choice wants numbers, words, lists, true, false or null, not {values!r}")
        return CategoricalDistribution([_plain(value) for value in values])
    whole = kind.startswith("int")
    numbers = [*values, *([] if step is None else [step])] if isinstance(values, list) and len(values) == 2 else []
    if not numbers or not all(type(number) in ((int,) if whole else (int, float)) for number in numbers):
        given = f"{values!r}" if step is None else f"{values!r} with step {step!r}"
        raise UserError(f"{kind} wants two {'whole ' * whole}numbers [low, high], not {given}")
    low, high = values
    if low > high:
        raise UserError(f"{kind} [{low}, {high}] is empty: the first number is the lower one")
    try:
        if whole:
            return IntDistribution(low, high, log=kind == "int_log", step=step or 1)
        return FloatDistribution(float(low), float(high), log=kind == "log", step=step)
    except ValueError as error:
        raise UserError(f"{kind} {values}: {error}") from None


def _plain(value: Any) -> Any:
    """Optuna stores no lists: they go as their JSON text, which the configuration's lists accept."""
    return json.dumps(value) if isinstance(value, list) else value


def _extremes(distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return [distribution.low, distribution.high]


def _inside(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return value is not None and distribution.low <= value <= distribution.high
