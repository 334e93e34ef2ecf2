"""Which figures the report of a search has and, where one can't be drawn, why not in words."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Literal

import optuna

from capetune.reports.copies import copied, done
from capetune.reports.ground import Ground, ground
from capetune.reports.marks import DRAWN, with_epochs
from capetune.reports.regret import regret
from capetune.reports.story import Story
from capetune.runs.metrics import title

Kind = Literal["curves", "history", "regret", "importances", "parallel", "slices", "front"]
ROW = 3  # slices beside each other
LEAST, FEW = 4, 20  # trials: fewer tell no parameters apart, or say little of them


@dataclass(frozen=True)
class Panel:
    """A figure. name: of its PNG. metric: what it is of; score: that in words, where the figure says when it was
    measured. study: a copy of the search's, where it is drawn from that. parameters: those it shows, by their labels.
    why: in words, where it can't be drawn."""

    name: str
    kind: Kind
    title: str
    note: str
    metric: str
    study: optuna.Study | None = None
    parameters: tuple[str, ...] = ()
    score: str = ""
    why: str | None = None


def panels(story: Story) -> list[Panel]:
    """In the order of the page; of two metrics, each has its own."""
    found = []
    if len(story.goal.metrics) == 2:
        found.append(_front(story))
    for place, metric in enumerate(story.goal.metrics):
        on = None if story.study is None else ground(story, place)
        of_metric = [
            _curves(story, metric),
            _history(story, place),
            _regret(story, place),
            _importances(story, metric, on),
        ]
        of_metric += [_parallel(story, metric, on), *_slices(story, metric, on)]
        if len(story.goal.metrics) == 2:
            of_metric = [replace(p, name=f"{p.name}-{metric}", title=f"{p.title}: {title(metric)}") for p in of_metric]
        found += of_metric
    return found


def _curves(story: Story, metric: str) -> Panel:
    drawn = len(with_epochs(story, metric))
    whose = (
        "Every trial's" if drawn <= DRAWN else f"The best {DRAWN} trials' ({drawn - DRAWN} more are in results.json)"
    )
    note = f"{whose} validation score after each epoch."
    if story.rungs and story.space:
        scheduler = story.space.header.scheduler
        note += f" Dashed verticals: the rungs, where one trial of {scheduler.factor} goes on."
    why = None if drawn else "no trial has finished an epoch"
    return Panel("curves", "curves", "Learning curves", note, metric, why=why)


def _history(story: Story, place: int) -> Panel:
    metric = story.goal.metrics[place]
    pruned = sum(row.state == "pruned" for row in story.rows)
    note = "The score of each trial that was trained to the end, and the best so far."
    note += " Rings: pruned trials, in their best epoch." if pruned else ""
    panel = Panel("history", "history", "Optimisation history", note, metric)
    if story.study is None:
        return replace(panel, why=story.no_study)
    study = copied(story, [place])
    return replace(panel, study=study, why=None if done(study) else _none(story))


def _regret(story: Story, place: int) -> Panel:
    metric = story.goal.metrics[place]
    panel = Panel("regret", "regret", "Regret over epochs", "", metric)
    found = regret(story, place)
    if found is None:
        return replace(panel, why="no trial has finished an epoch")
    half = found.after(found.spent / 2)
    note = f"How far the best score so far was from the final one, over the {found.spent} epochs of all trials"
    note += f", of {found.budget} in the budget" if found.budget else ""
    note += f"; the final one came after {found.at[-1]}."
    note += "" if half is None else f" After half of them {half:.4f} was missing."
    note += f" Dashed verticals: quarters of {'the budget' if found.budget else 'what was spent'}."
    return replace(panel, note=note)


def _importances(story: Story, metric: str, on: Ground | None) -> Panel:
    panel = Panel("importances", "importances", "Parameter importances", "", metric)
    why = _too_few(story, on)
    if on is None or why:
        return replace(panel, why=why)
    trials = on.scored
    parameters = {key for trial in trials for key in trial.params}
    if len(parameters) == 1:
        why = f"only one parameter is varied, {parameters.pop()}"
    elif len({trial.value for trial in trials}) == 1:
        why = f"all {len(trials)} {on.whose} have the same {title(metric)}"
    elif len(trials) < LEAST:
        why = f"{len(trials)} {on.whose} are too few to tell the parameters apart"
    else:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            weights = optuna.importance.get_param_importances(on.study)
        if any("will be equal" in str(warning.message) for warning in said) or len(set(weights.values())) == 1:
            why = f"the {len(trials)} {on.whose} don't tell the parameters apart"
    note = f"Share of the difference between good trials and others (PED-ANOVA), from the {on.words}"
    note += "; so few say little." if len(trials) < FEW else "."
    note += "" if on.epoch is None else " Early scores favour what learns fast."
    return replace(panel, note=note, study=on.study, score=on.score, why=why)


def _parallel(story: Story, metric: str, on: Ground | None) -> Panel:
    panel = Panel("parallel", "parallel", "Parallel coordinates", "", metric)
    why = _too_few(story, on)
    if on is None or why:
        return replace(panel, why=why)
    study, left = on.first(story, DRAWN)
    whose = f"; drawn are the best {DRAWN}, {left} more are in results.csv" if left else ""
    note = f"A line a trial, from the {on.words}{whose}; the stronger its colour, the better. An axis each parameter."
    if len({frozenset(trial.params) for trial in on.scored}) > 1:
        note += " None: a trial without that one."
    return replace(panel, note=note, study=study, score=on.score)


def _slices(story: Story, metric: str, on: Ground | None) -> list[Panel]:
    panel = Panel("slices", "slices", "Slices", "", metric)
    why = _too_few(story, on)
    if on is None or why:
        return [replace(panel, why=why)]
    words = on.words[0].upper() + on.words[1:]
    note = f"{words}, against one parameter at a time; the stronger the colour, the later the trial."
    panel = replace(panel, note=note, study=on.study, score=on.score)
    there = {key for trial in on.scored for key in trial.params}
    labels = [label for label in story.labels.values() if label in there]
    rows = [tuple(labels[start : start + ROW]) for start in range(0, len(labels), ROW)]
    if len(rows) == 1:
        return [replace(panel, parameters=rows[0])]
    return [
        replace(panel, name=f"slices-{number}", title=f"Slices {number} of {len(rows)}", parameters=row)
        for number, row in enumerate(rows, 1)
    ]


def _front(story: Story) -> Panel:
    first, second = story.goal.metrics
    note = "Trials on the front are those that no other beats in both metrics."
    name = f"{title(first)} against {title(second)}"
    panel = Panel("front", "front", f"Trade-off: {name}", note, first)
    if story.study is None:
        return replace(panel, why=story.no_study)
    study = copied(story, [0, 1])
    return replace(panel, study=study, why=None if done(study) else _none(story))


def _too_few(story: Story, on: Ground | None) -> str | None:
    """Why there is nothing to compare, where fewer than two trials have the score."""
    if on is None:
        return story.no_study
    count = len(on.scored)
    if count >= 2:
        return None
    what = "was trained to the end" if on.epoch is None else f"has a score after epoch {on.epoch}"
    return f"only one trial {what}{_others(story)}" if count else _none(story)


def _none(story: Story) -> str:
    return f"no trial was trained to the end{_others(story)}"


def _others(story: Story) -> str:
    """What became of those that weren't."""
    states = ("pruned", "halted", "diverged", "failed", "stopped")
    others = {state: sum(row.state == state for row in story.rows) for state in states}
    words = ", ".join(f"{n} {state}" for state, n in others.items() if n)
    return f" ({words})" if words else ""
