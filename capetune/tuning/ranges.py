"""A range of a search space's file as Optuna's distribution; what doesn't fit is said in our words, not in Optuna's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from capetune.errors import UserError

KINDS = ("choice", "int", "int_log", "uniform", "log")


def read_range(spec: Mapping[str, Any], meant: Callable[[Any], Any], begun: bool = False) -> BaseDistribution:
    """spec: one of KINDS → its values, and step if wanted. meant: a choice as it is to be stored. begun: whether a
    search has this range already: there a step that misses the higher end means the end it reaches, as Optuna took it.

    Raises UserError where it is no range, with the cure.
    """
    kinds = [kind for kind in spec if kind in KINDS]
    unknown = [str(key) for key in spec if key not in (*KINDS, "step")]
    if len(kinds) != 1 or unknown:
        what = f"there is no {unknown[0]!r}" if unknown else f"{len(kinds)} kinds of range"
        raise UserError(f"{what}; give one of {', '.join(KINDS)}, and step or when if wanted")
    kind, step = kinds[0], spec.get("step")
    if kind == "choice":
        return _choice(spec[kind], step, meant)
    low, high = _ends(kind, spec[kind], step)
    if step is not None:
        high = _reached(kind, low, high, step, begun)
    if kind.startswith("int"):
        return IntDistribution(low, high, log=kind == "int_log", step=step or 1)
    return FloatDistribution(float(low), float(high), log=kind == "log", step=step)


def extremes(distribution: BaseDistribution) -> list[Any]:
    """The values that must fit where the others do: both ends, or every choice."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return [distribution.low, distribution.high]


def _choice(values: Any, step: Any, meant: Callable[[Any], Any]) -> CategoricalDistribution:
    if not isinstance(values, list) or not values or step is not None:
        raise UserError(f"choice wants a list with at least one value and no step, not {values!r}")
    if not all(isinstance(value, str | int | float | list | None) for value in values):
        raise UserError(f"choice wants numbers, words, lists, true, false or null, not {values!r}")
    return CategoricalDistribution([meant(value) for value in values])


def _ends(kind: str, values: Any, step: Any) -> tuple[Any, Any]:
    whole = kind.startswith("int")
    numbers = [*values, *([] if step is None else [step])] if isinstance(values, list) and len(values) == 2 else []
    kinds = (int,) if whole else (int, float)
    if not numbers or not all(type(number) in kinds and math.isfinite(number) for number in numbers):
        given = f"{values!r}" if step is None else f"{values!r} with step {step!r}"
        raise UserError(f"{kind} wants two {'whole ' * whole}numbers [low, high], not {given}")
    low, high = values
    if low > high:
        raise UserError(f"{kind} [{low}, {high}] is empty: the first number is the lower one")
    if kind.endswith("log"):
        if low <= 0:
            raise UserError(f"{kind} [{low}, {high}] wants numbers above 0: raise the first, or take {_even(kind)}")
        if step is not None:
            raise UserError(f"{kind} takes no step: leave it out, or take {_even(kind)}")
    return low, high


def _even(kind: str) -> str:
    return "int" if kind == "int_log" else "uniform"


def _reached(kind: str, low: Any, high: Any, step: Any, begun: bool) -> Any:
    if step <= 0:
        raise UserError(f"step {step} must be above 0")
    first, last, each = (Decimal(str(number)) for number in (low, high, step))  # as they are written: 0.3 is 3 × 0.1
    over = (last - first) % each
    if not over:
        return high
    below, above = (type(high)(end) for end in (last - over, last - over + each))
    if begun:
        return below
    reach = f"[{low}, {below}] or [{low}, {above}]"
    raise UserError(f"{kind} [{low}, {high}] in steps of {step} never reaches {high}: write {reach}")
