"""Reading a search space: a YAML file that maps configuration keys to ranges, with a few keys of its own."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from pydantic import ValidationError

from capetune.config import Config, check_key, config_value
from capetune.errors import UserError
from capetune.runs.metrics import METRICS
from capetune.tuning.ranges import extremes, read_range
from capetune.tuning.space import GRID, Header, Parameter, Space, describe, plain
from capetune.yaml12 import read_document

BUILT_IN = Path(__file__).parents[1] / "search_spaces"
# What a score is of, and when a trial is complete.
COMMON = ("train.epochs", "train.patience", "data.split", "validation.")
POINTS = 100  # drawn to see whether values go together
LOWER = ("val_loss", "val_coordinates", "generate_ms")  # the lower the better, unless the file says otherwise
EXAMPLE = "a search space maps keys to ranges, such as 'loss.tokens: {log: [0.1, 2]}'"


def built_in_spaces() -> list[str]:
    return sorted(path.name for path in BUILT_IN.glob("*.yaml"))


def find_space(name: str | Path) -> Path:
    """A file or, where there is no such file, a built-in space of that name. Raises UserError where there is none."""
    path = Path(name)
    if path.is_file():
        return path
    path = BUILT_IN / path.with_suffix(".yaml").name
    if not path.is_file():
        near = [f"{stem}.yaml" for stem in difflib.get_close_matches(path.stem, [s[:-5] for s in built_in_spaces()], 1)]
        hint = f"did you mean {near[0]}?" if near else f"built in are {', '.join(built_in_spaces())}"
        raise UserError(f"there is no search space {name}; {hint}")
    return path


def load_space(name: str | Path, config: Config, begun: bool = False) -> Space:
    """The space of that file or name, for searches that start from `config`.

    Each key must exist in the configuration tree and take every bound or choice, points drawn all over the space must
    be whole valid configurations, and `config` and the header's points must lie in it, unless the search has `begun`,
    for then they were tried. Raises UserError, naming each wrong range with its line, or the values that don't go
    together.
    """
    path = find_space(name)
    document = read_document(path)
    tree = document.tree
    if not isinstance(tree, Mapping) or not tree:
        raise UserError(f"{path}: {EXAMPLE}")
    lines = {keys[0]: line for keys, line in document.lines.items() if len(keys) == 1}
    parameters: dict[str, Parameter] = {}
    header: dict[str, Any] = {}
    wrong: list[str] = []
    for key, spec in tree.items():
        line = lines.get(str(key), 0)
        try:
            if key in Header.model_fields:
                header[key] = spec
            else:
                parameters[key] = _parameter(str(key), spec, line, parameters, config, begun)
        except UserError as error:
            wrong.append(f"line {line}: {key}: {error}")
    if wrong:
        raise UserError(f"{path}, {'; and '.join(wrong)}")
    if not parameters:
        raise UserError(f"{path} has no range; {EXAMPLE}")
    space = Space(parameters, _header(header, path, lines), path, document.text)
    if space.header.sampler == "grid" and space.grid() is None:
        raise UserError(
            f"{path}, line {lines['sampler']}: grid tries every point, and this space has more than {GRID}, or ranges "
            "without a step; give choices or steps, or take sampler: random"
        )
    if space.header.repeats > 1 and "seed" in parameters:
        line = lines["repeats"]
        raise UserError(f"{path}, line {line}: repeats: the space varies seed itself: leave one of the two out")
    if space.header.sampler == "ablation":
        space.one_at_a_time(config)
    else:
        _check_together(space, config)
    if not begun:
        space.default(config)
        _check_points(space, config, f"{path}, line {lines.get('points', 0)}: points")
    return space


def _header(tree: dict[str, Any], path: Path, lines: Mapping[str, int]) -> Header:
    if tree.get("sampler") == "ablation":
        tree.setdefault("scheduler", "none")
    if isinstance(tree.get("scheduler"), str):
        tree["scheduler"] = {"name": tree["scheduler"]}
    for key in ("metric", "mode"):
        if isinstance(tree.get(key), str):
            tree[key] = [tree[key]]
    if isinstance(tree.get("metric"), list):
        tree.setdefault("mode", ["min" if str(metric) in LOWER else "max" for metric in tree["metric"]])
    try:
        header = Header.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "[key]")
        known = Header.model_fields.get(str(first["loc"][0]))
        kind = known.annotation if known else None
        names = getattr(kind, "model_fields", None)
        hint = f"; it has {', '.join(names)}" if names and first["type"] == "extra_forbidden" else ""
        line = lines.get(str(first["loc"][0]), 0)
        raise UserError(f"{path}, line {line}: {where}: {first['msg']}, not {first['input']!r}{hint}") from None

    def wrong(key: str, what: str) -> UserError:
        return UserError(f"{path}, line {lines.get(key, 0)}: {key}: {what}")

    for metric in header.metric:
        if metric not in METRICS:
            near = difflib.get_close_matches(metric, METRICS, 1, 0.3)
            raise wrong("metric", f"no epoch reports {metric!r}; did you mean {near[0] if near else METRICS[0]}?")
    if len(header.mode) != len(header.metric) or not 1 <= len(header.metric) <= 2:
        raise wrong("metric", f"{len(header.metric)} metrics and {len(header.mode)} modes; give one of each, or two")
    if len(set(header.metric)) < len(header.metric):
        raise wrong("metric", f"{header.metric[0]} stands there twice; give it once, or another beside it")
    if len(header.metric) == 2 and header.scheduler.name != "none":
        raise wrong("metric", "two metrics want `scheduler: none`: which trial is poor, two of them don't say")
    if len(header.metric) == 2 and header.sampler == "cmaes":
        raise wrong("metric", "cmaes searches by one metric: two want tpe, gp, nsga2, random or grid")
    if header.sampler == "ablation" and header.scheduler.name != "none":
        raise wrong("scheduler", "an ablation compares trials that were trained to their end: leave scheduler out")
    if header.repeats > 1 and header.scheduler.name not in ("asha", "none"):
        raise wrong(
            "repeats", f"{header.scheduler.name} moves trials about between epochs: take scheduler asha or none"
        )
    if header.scheduler.name == "pbt" and header.sampler != "random":
        raise wrong(
            "scheduler", "pbt changes values while trials train, so no sampler can learn from them: `sampler: random`"
        )
    return header


def _parameter(
    key: str, spec: Any, line: int, above: Mapping[str, Parameter], config: Config, begun: bool
) -> Parameter:
    if "." not in key and key not in Config.model_fields:
        raise UserError(f"of keys without a dot a space has {', '.join(Header.model_fields)}")
    check_key(key)
    if key.startswith(COMMON) and not begun:
        raise UserError(f"trials that differ in it can't be compared; set it for all of them: --set {key}=…")
    if not isinstance(spec, Mapping):
        raise UserError(f"wants a mapping such as {{int: [2, 6]}}, not {spec!r}")
    when: dict[str, tuple[Any, ...]] = {}
    conditions = spec.get("when", {})
    if not isinstance(conditions, Mapping):
        raise UserError(f"when wants a mapping such as {{model.sequence: xy}}, not {conditions!r}")
    for other, values in conditions.items():
        if other not in above:
            raise UserError(f"when: {other} is not a range above this line")
        listed = values if isinstance(values, list) else [values]
        allowed = tuple(_meant(str(other), value, config) for value in listed)
        bad = [value for value in allowed if not above[other].holds(value)]
        if bad:
            raise UserError(f"when: {other} is never {bad[0]!r}: it is {describe(above[other].distribution)}")
        when[str(other)] = allowed
    ranged = {kind: value for kind, value in spec.items() if kind != "when"}
    distribution = read_range(ranged, lambda value: _meant(key, value, config), begun)
    for value in extremes(distribution):
        _check_alone(key, value, config)
    if isinstance(distribution, CategoricalDistribution) and not begun:
        _check_apart(key, distribution.choices, config)
    return Parameter(distribution, when, line)


def _meant(key: str, value: Any, config: Config) -> Any:
    """A value as Optuna is to store it. A word that the configuration reads as a number or as truth is that, for YAML
    1.2 has no `yes` of its own."""
    try:
        made = config_value(config.with_overrides({key: value}), key)
    except UserError:  # said later, by whoever asks about it
        return plain(value)
    return made if isinstance(value, str) and isinstance(made, bool | int | float) else plain(value)


def _check_apart(key: str, choices: Sequence[Any], config: Config) -> None:
    """Choices that make one configuration would be tried as if they were several."""
    made: list[Any] = []
    for value in choices:
        try:
            became = config_value(config.with_overrides({key: value}), key)
        except UserError:  # it wants another value of another key too
            became = value
        if became in made:
            twin = choices[made.index(became)]
            raise UserError(f"choices {twin!r} and {value!r} make the same configuration: leave one of them out")
        made.append(became)


def _check_alone(key: str, value: Any, config: Config) -> None:
    try:
        config.with_overrides({key: value})
    except UserError as error:
        if str(error).startswith(f"{key}: "):  # else it is about another key too, whose own range may suit
            raise UserError(str(error).removeprefix(f"{key}: ")) from None


def read_points(file: Path, space: Space, config: Config) -> list[dict[str, Any]]:
    """The points in a YAML file, each whole: with the configuration's values for what it leaves out.

    Raises UserError where it holds none, or one that isn't in the space or stands there twice.
    """
    document = read_document(file)
    tree = document.tree.get("points") if isinstance(document.tree, Mapping) else document.tree
    if not isinstance(tree, list) or not tree or not all(isinstance(point, Mapping) and point for point in tree):
        raise UserError(f"{file}: wanted is a list of points, such as '- {{{next(iter(space.parameters))}: …}}'")
    header = space.header.model_copy(update={"points": tuple(tree)})
    _check_points(replace(space, header=header), config, str(file))
    return [space.filled(point, config) for point in tree]


def _check_points(space: Space, config: Config, source: str) -> None:
    """source: where the header's points stand."""
    for number, point in enumerate(space.header.points, start=1):
        where = f"{source}: the {number}. point"
        for key, value in point.items():
            if key not in space.parameters:
                near = difflib.get_close_matches(key, space.parameters, 1, 0.3)
                raise UserError(f"{where} has {key}, which has no range here" + (f"; {near[0]}?" if near else ""))
            if not space.parameters[key].holds(plain(value)):
                range_ = describe(space.parameters[key].distribution)
                raise UserError(f"{where} has {key} = {value}, which lies outside {range_}")
    made: list[Config] = []
    for number, values in enumerate(space.points(config)):  # the default is number 0
        where = f"{source}: the {number}. point"
        try:
            became = config.with_overrides(values)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        if became in made[1:]:
            raise UserError(f"{where} makes the same configuration as the {made.index(became, 1)}.: leave one out")
        made.append(became)


def _check_together(space: Space, config: Config) -> None:
    """Values may each be right and yet not go together, as a width and a number of heads."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(POINTS):
        point = space.suggest(study.ask())
        try:
            config.with_overrides(point)
        except UserError as error:
            values = ", ".join(f"{key}={value}" for key, value in point.items())
            raise UserError(f"{space.source}: values that don't go together, such as {values}: {error}") from None
