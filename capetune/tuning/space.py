"""Search spaces: which configuration keys a search varies, over what ranges, towards what goal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)
from pydantic import Field

from capetune.config import Config, Section, config_value
from capetune.errors import UserError

optuna.logging.set_verbosity(optuna.logging.ERROR)  # it announces every study and trial
Mode = Literal["max", "min"]
Constraint = Literal["parameters", "generate_ms", "gpu_memory_gb"]
Limit = Annotated[float, Field(gt=0)]
GRID = 1000  # points of a space, at most, that are counted and may be tried one by one
LISTED = ("grid", "ablation")  # samplers that draw nothing: all their points are queued
ONE_SPACE = ("gp", "cmaes", "nsga2")  # samplers that draw a parameter at random if its range differs between trials


class SchedulerConfig(Section):
    name: Literal["asha", "hyperband", "median", "pbt", "none"] = "asha"
    grace: int = Field(1, ge=1, description="epochs before a trial can be stopped; pbt: epochs between two exchanges")
    factor: int = Field(3, ge=2, description="asha, hyperband: one of so many trials goes on to the next rung")


class Budget(Section):
    """A search ends with the first of these that is reached; None: no such limit. epochs: of all trials together.
    stale: so many trials since the best one; those that run go on to their end."""

    trials: int | None = Field(None, ge=1)
    epochs: int | None = Field(None, ge=1)
    hours: float | None = Field(None, gt=0)
    stale: int | None = Field(None, ge=1)


class Header(Section):
    """How a search is run; every key may stand in a space's file beside the ranges.

    A second metric, with its own mode, makes the search one for trade-offs (`scheduler: none`, any sampler but cmaes).
    """

    metric: tuple[str, ...] = ("mpck4",)
    mode: tuple[Mode, ...] = ("max",)
    sampler: Literal["tpe", "random", "grid", "ablation", "gp", "cmaes", "nsga2"] = "tpe"
    scheduler: SchedulerConfig = SchedulerConfig()
    budget: Budget = Budget()
    points: tuple[dict[str, Any], ...] = Field((), description="tried right after the default configuration")
    repeats: int = Field(1, ge=1, le=20, description="seeds that each configuration is trained with; the mean counts")
    constraints: dict[Constraint, Limit] = Field({}, description="what a trial must keep to, to be the best")


@dataclass(frozen=True)
class Parameter:
    """One key's range. when: key → the values among which that parameter's must be for this one to be varied."""

    distribution: BaseDistribution
    when: Mapping[str, tuple[Any, ...]]
    line: int

    def applies(self, values: Mapping[str, Any]) -> bool:
        return all(values.get(key) in allowed for key, allowed in self.when.items())

    def suggest(self, trial: optuna.Trial, key: str) -> Any:
        kind = self.distribution
        if isinstance(kind, CategoricalDistribution):
            return trial.suggest_categorical(key, kind.choices)
        if isinstance(kind, IntDistribution):
            return trial.suggest_int(key, kind.low, kind.high, step=kind.step, log=kind.log)
        assert isinstance(kind, FloatDistribution)
        return trial.suggest_float(key, kind.low, kind.high, step=kind.step, log=kind.log)

    def holds(self, value: Any) -> bool:
        if isinstance(self.distribution, CategoricalDistribution):
            return any(value == choice and _alike(value, choice) for choice in self.distribution.choices)
        assert isinstance(self.distribution, IntDistribution | FloatDistribution)
        return _alike(value, 1) and self.distribution.low <= value <= self.distribution.high


def _alike(one: Any, other: Any) -> bool:
    """Both are truths, both numbers, or of one type: 0 may stand for 0.0, not for false."""
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other)]
    return all(numbers) or type(one) is type(other)


@dataclass(frozen=True)
class Space:
    """parameters: dotted key → its range, in the file's order. source: where it was read. text: the file itself."""

    parameters: dict[str, Parameter]
    header: Header
    source: Path
    text: str

    @property
    def conditional(self) -> bool:
        """Whether some keys are varied under conditions only."""
        return any(parameter.when for parameter in self.parameters.values())

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """The trial's value of every parameter that applies; asked again, the same ones."""
        values: dict[str, Any] = {}
        for key, parameter in self.parameters.items():
            if parameter.applies(values):
                values[key] = parameter.suggest(trial, key)
        return values

    def default(self, config: Config) -> dict[str, Any]:
        """The values that `config` has for this space's keys: what trial 0 tries.

        Raises UserError where one lies outside its range: the sampler couldn't place it.
        """
        return self.filled({}, config)

    def points(self, config: Config) -> list[dict[str, Any]]:
        """What is tried first: the default, then the header's points, each with the default for what it leaves out.
        With `sampler: grid` the whole space comes after these, with `ablation` each key's values by themselves."""
        found = [self.filled(point, config) for point in ({}, *self.header.points)]
        return found + [point for point in self._listed(config) if point not in found]

    def countable(self, config: Config) -> list[dict[str, Any]] | None:
        """Every configuration that may be tried, None where they are more than GRID, or without number."""
        return self.points(config) if self.header.sampler == "ablation" else self.grid()

    def one_at_a_time(self, config: Config) -> list[dict[str, Any]]:
        """The default, then each key's other values, with all other keys at the default.

        Raises UserError where a key doesn't apply to the default, has values without number, or more than GRID.
        """
        default = self.default(config)
        found = [default]
        for key, parameter in self.parameters.items():
            values, where = _values(parameter.distribution), f"{self.source}, line {parameter.line}: {key}"
            if values is None:
                raise UserError(f"{where}: an ablation tries every value, up to {GRID}: give a choice, or a step")
            if key not in default:
                cure = "start from one that it applies to (--set), or leave it out"
                raise UserError(f"{where}: an ablation changes one key at a time, and this isn't the default's; {cure}")
            found += [self.filled({**default, key: value}, config) for value in values if value != default[key]]
        return found

    def _listed(self, config: Config) -> list[dict[str, Any]]:
        """What the samplers of LISTED try; nothing with others."""
        if self.header.sampler == "ablation":
            return self.one_at_a_time(config)
        return (self.grid() or []) if self.header.sampler == "grid" else []

    def grid(self) -> list[dict[str, Any]] | None:
        """Every point of the space, in the order of the file; None where they are more than GRID, or without number."""
        found: list[dict[str, Any]] = [{}]
        for key, parameter in self.parameters.items():
            grown: list[dict[str, Any]] = []
            for point in found:
                values = _values(parameter.distribution) if parameter.applies(point) else [None]
                if values is None or len(grown) + len(values) > GRID:
                    return None
                grown += [{**point, key: value} for value in values] if parameter.applies(point) else [point]
            found = grown
        return found

    def filled(self, point: Mapping[str, Any], config: Config) -> dict[str, Any]:
        """A point's values with the configuration's for what it leaves out, of the keys that apply.

        Raises UserError where one lies outside its range.
        """
        values: dict[str, Any] = {}
        for key, parameter in self.parameters.items():
            if not parameter.applies(values):
                continue
            value = point[key] if key in point else config_value(config, key)
            values[key] = plain(value)
            if not parameter.holds(values[key]):
                where = f"{self.source}, line {parameter.line}: the configuration's {key} = {values[key]}"
                range_ = describe(parameter.distribution)
                cure = f"widen the range, or start from another value with --set {key}=…"
                raise UserError(f"{where} lies outside {range_}; {cure}")
        return values

    def check_extends(self, older: Space) -> None:
        """Raises UserError where a study begun with the `older` space can't go on with this one."""
        if set(self.parameters) != set(older.parameters):
            changed = sorted(set(self.parameters) ^ set(older.parameters))
            raise UserError(
                f"{self.source}: a search goes on with the keys it was begun with, and {', '.join(changed)} "
                "came or went; begin a new one with --name"
            )
        if self.header.metric != older.header.metric or self.header.mode != older.header.mode:
            raise UserError(f"{self.source}: a search goes on with its metric, {' and '.join(older.header.metric)}")
        if self.header.repeats != older.header.repeats:
            raise UserError(f"{self.source}: a search goes on with its repeats: {older.header.repeats}")
        if self.header.constraints != older.header.constraints:
            raise UserError(f"{self.source}: a search goes on with its constraints: its trials were judged by them")
        for key, parameter in self.parameters.items():
            before, now = older.parameters[key].distribution, parameter.distribution
            try:
                check_distribution_compatibility(before, now)
            except ValueError:
                chosen = isinstance(before, CategoricalDistribution) and isinstance(now, CategoricalDistribution)
                why = "a study keeps its choices" if chosen else "only the ends of a range may change"
                was = f"{key} was {describe(before)}, is {describe(now)}"
                cure = "begin a new search with --name"
                raise UserError(f"{self.source}, line {parameter.line}: {was}: {why}; {cure}") from None
            if before != now and self.header.sampler in ONE_SPACE:
                what = f"{key} was {describe(before)}: {self.header.sampler} learns nothing of trials with other ends"
                raise UserError(f"{self.source}, line {parameter.line}: {what}; keep them, or take sampler: tpe")


def never_stops(space: Space, config: Config) -> str | None:
    """Why the scheduler will never stop a trial of this search, as a line with the cure; None where it may."""
    settings, longest = space.header.scheduler, config.train.epochs
    if settings.name not in ("asha", "median", "pbt") or settings.grace < longest:
        return None
    does = "exchange weights with another" if settings.name == "pbt" else "be stopped"
    return (
        f"no trial will ever {does}: {settings.name} waits for epoch {settings.grace} (grace), and a trial has "
        f"{longest}; give a smaller grace, --set train.epochs={settings.grace + 1} or more, or `scheduler: none`"
    )


def describe(distribution: BaseDistribution) -> str:
    """The range in words, as in the file."""
    if isinstance(distribution, CategoricalDistribution):
        return f"choice {list(distribution.choices)}"
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    whole = isinstance(distribution, IntDistribution)
    kind = ("int_log" if whole else "log") if distribution.log else ("int" if whole else "uniform")
    step = f" step {distribution.step:g}" if distribution.step not in (None, 1) else ""
    return f"{kind} [{distribution.low:g}, {distribution.high:g}]{step}"


def size(distribution: BaseDistribution) -> int | None:
    """How many values there are, None where they are continuous."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    # In decimals: (0.3 - 0.1) / 0.1 is a little less than 2.
    if distribution.step is None:
        return None
    low, high, step = (Decimal(str(end)) for end in (distribution.low, distribution.high, distribution.step))
    return int((high - low) / step) + 1


def _values(distribution: BaseDistribution) -> list[Any] | None:
    """All of them, None where they are more than GRID, or continuous."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    count = size(distribution)
    if count is None or count > GRID:
        return None
    low, step = (Decimal(str(value)) for value in (distribution.low, distribution.step or 1))
    return [type(distribution.low)(low + i * step) for i in range(count)]  # 0.3 where 0.1 + 2 * 0.1 is another number


def plain(value: Any) -> Any:
    """Optuna stores no lists: they go as their JSON text, which the configuration's lists accept."""
    return json.dumps(value) if isinstance(value, list) else value
