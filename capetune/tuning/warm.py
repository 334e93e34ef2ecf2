"""A search that begins with what earlier ones have found: their results as its trials, or their best points first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from capetune.config import Config, config_value, leaf_keys, load_config
from capetune.errors import UserError
from capetune.runs.document import Odd, read_checked
from capetune.runs.record import CONFIG, SPACE, Run, WarmStart
from capetune.runs.results import TrialResult, TrialRow, look_at_results, result_of
from capetune.storage.whole import write_aside
from capetune.tuning.goal import Goal
from capetune.tuning.space import Space, describe, plain
from capetune.tuning.space_file import load_space
from capetune.tuning.telling import frozen

WARM = "warm.json"  # of a search that began with others': what it took of them
EARLIER = "capetune:earlier"  # attribute of a study's trial that another search trained: that one and its number


@dataclass(frozen=True)
class Earlier:
    """A trial of an earlier search. overrides: its values for the keys of this one's space. result: its, where it is a
    result of this search's question too; None: it is only a point to begin with."""

    search: str
    trial: int
    overrides: dict[str, Any]
    result: TrialResult | None

    @property
    def name(self) -> str:
        return f"trial {self.trial} of {self.search}"


class _Row(TypedDict):
    search: str
    trial: int
    overrides: dict[str, Any]
    result: TrialRow | None


@dataclass
class Warmth:
    """What is taken of earlier searches. found: a line for each of them. doubts: what is left out, a line each."""

    taken: list[Earlier] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Question:
    """What a search's scores are of, beside its configurations. question: words → a value; where two searches differ in
    one, their scores can't be compared."""

    space: Space
    config: Config
    asked: Mapping[str, Any]

    @classmethod
    def of(cls, space: Space, config: Config, facts: Mapping[str, Any]) -> Question:
        """facts: a run's."""
        header = space.header
        values = "that pbt changed" if header.scheduler.name == "pbt" else "its own"
        asked = {
            "pack": facts.get("data_hash"),
            "metric": [list(header.metric), list(header.mode)],
            "repeats": header.repeats,
            "constraints": dict(header.constraints),
            "--cache-features": facts.get("cache_features", 0),
            "--workers-per-trial": facts.get("workers_per_trial", 1),
        }
        return cls(space, config, {**asked, "values while a trial trains": values})

    def differs(self, other: Question) -> list[str]:
        """In what, beside the values of this one's space: the configuration's keys, and others by their words."""
        keys = [key for key in leaf_keys() if key not in {*self.space.parameters, *other.space.parameters}]
        changed = [key for key in keys if config_value(self.config, key) != config_value(other.config, key)]
        return [*(what for what, value in self.asked.items() if other.asked[what] != value), *changed]


def warm_start(runs: Sequence[Run], question: Question, top: int) -> Warmth:
    """Take of each search all results that are this search's too: of the same pack, metric and fidelity, and of a
    configuration that this space has as well. Of its best `top` trials the others are points to begin with.

    Raises UserError where a search's own files can't be read.
    """
    warmth, known = Warmth(), set[str]()
    for run in runs:
        config = load_config("tiny", run.folder / CONFIG)
        space = load_space(run.folder / SPACE, config, begun=True)
        theirs = Question.of(space, config, run.facts)
        _take(run, theirs, question, top, warmth, known)
    return warmth


def _take(run: Run, theirs: Question, question: Question, top: int, warmth: Warmth, known: set[str]) -> None:
    results, damaged = look_at_results(run.folder)
    goal, alike = Goal.of(theirs.space.header), theirs.asked == question.asked
    ended = sorted((result for result in results if result.status != "failed"), key=goal.place)
    counted: list[Earlier] = []
    points: list[Earlier] = []
    outside: dict[str, list[str]] = {}
    for place, result in enumerate(ended):
        whole = theirs.config.with_overrides(result.overrides)
        values, left_out = _placed(whole, question)
        try:
            made = question.config.with_overrides(values).hash()
        except UserError:  # values that don't go together with this search's base
            continue
        counts = alike and made == whole.hash()
        if made in known or (not counts and (place >= top or result.score is None)):
            continue
        for key, value in left_out.items():
            outside.setdefault(key, []).append(f"{value} of trial {result.number}")
        (counted if counts else points).append(Earlier(run.name, result.number, values, result if counts else None))
        known.add(made)
    warmth.taken += counted + points
    warmth.found.append(_found(run, counted, points, len(ended)))
    warmth.doubts += damaged
    lacking = [key for key in theirs.space.parameters if key not in question.space.parameters]
    if lacking:
        warmth.doubts.append(f"{run.name} varied {', '.join(lacking)}, which this space lacks")
    for key, wrong in outside.items():
        range_ = describe(question.space.parameters[key].distribution)
        said = f"{run.name}: {key} = {', '.join(wrong)} lies outside {range_}"
        warmth.doubts.append(f"{said}: left out, the default is in its place")
    if points and not counted:
        differs = question.differs(theirs) or ["the values of its trials"]
        warmth.doubts.append(f"results of {run.name} don't count as trials here, for they differ in {_some(differs)}")


def _placed(whole: Config, question: Question) -> tuple[dict[str, Any], dict[str, Any]]:
    """A configuration's values for the space's keys, the default in place of those outside; and these."""
    values: dict[str, Any] = {}
    outside: dict[str, Any] = {}
    for key, parameter in question.space.parameters.items():
        if parameter.applies(values):
            value = plain(config_value(whole, key))
            if not parameter.holds(value):
                outside[key] = value
                value = plain(config_value(question.config, key))
            values[key] = value
    return values, outside


def _found(run: Run, counted: Sequence[Earlier], points: Sequence[Earlier], ended: int) -> str:
    said = f"results of {run.name} that count as trials: {len(counted)} of {ended}" if counted else ""
    begins = f"points of {run.name} that come first: {len(points)}" if points else ""
    return "; ".join(filter(None, [said, begins])) or f"{run.name} has nothing that this search could begin with"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def save_warm(folder: Path, taken: Sequence[Earlier]) -> None:
    """Keep in a run's folder what its search begins with."""
    if taken:
        write_aside(folder / WARM, json.dumps([asdict(each) for each in taken], indent=1) + "\n")


def read_warm(folder: Path) -> list[Earlier]:
    """What a search began with, none where it began by itself. Raises UserError where the file is damaged."""
    file = folder / WARM
    try:
        rows = read_checked(file, TypeAdapter(list[_Row]))
    except FileNotFoundError:
        return []
    except Odd as odd:
        raise UserError(f"{file} {odd}; remove it, and the search goes on without what it began with") from None
    return [Earlier(**{**row, "result": row["result"] and result_of(row["result"])}) for row in rows]


def first_points(space: Space, config: Config, warm: Sequence[Earlier]) -> list[dict[str, Any]]:
    """What a search tries first: the default, its own points, then those of earlier searches."""
    found = space.points(config)
    for each in warm:
        if each.result is None and each.overrides not in found:
            found.append(each.overrides)
    return found


def as_known(each: Earlier, space: Space, goal: Goal) -> FrozenTrial:
    """A result that counts, as a trial of this search's study."""
    assert each.result is not None
    return frozen(space, goal, each.overrides, each.result, dict(each.result.history), {EARLIER: each.name})


def tell_earlier(study: optuna.Study, space: Space, goal: Goal, warm: Sequence[Earlier]) -> None:
    """Let the study know the results that count, those that it knows left out."""
    known = {trial.user_attrs.get(EARLIER) for trial in study.get_trials(deepcopy=False)}
    for each in warm:
        if each.result is not None and each.name not in known:
            study.add_trial(as_known(each, space, goal))


def by_number(study: optuna.Study, warm: Sequence[Earlier]) -> dict[int, Earlier]:
    """The results that count, by the numbers of the study's trials that they are."""
    named = {each.name: each for each in warm if each.result is not None}
    names = {trial.number: trial.user_attrs.get(EARLIER) for trial in study.get_trials(deepcopy=False)}
    return {number: named[name] for number, name in names.items() if name in named}


def summary(warm: Sequence[Earlier], goal: Goal) -> list[WarmStart]:
    """For a record and its report."""
    rows: list[WarmStart] = []
    for name in dict.fromkeys(each.search for each in warm):
        mine = [each for each in warm if each.search == name]
        results = [each.result for each in mine if each.result is not None]
        best = min((result for result in results if result.eligible), key=goal.place, default=None)
        row = WarmStart(search=name, trials=len(results), points=len(mine) - len(results))
        if best is not None and best.score is not None:
            row["best"], row["score"] = best.number, best.score
        rows.append(row)
    return rows
