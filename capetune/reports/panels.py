"""Which figures the report of a search has and, where one can't be drawn, why not in words."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Literal

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from capetune.reports.story import Story
from capetune.runs.metrics import title

Kind = Literal["curves", "history", "importances", "parallel", "slices", "front"]
ROW = 3  # slices beside each other
LEAST, FEW = 4, 20  # trials: fewer tell no parameters apart, or say little of them


@dataclass(frozen=True)
class Panel:
    """A figure. name: of its PNG. metric: what it is of. study: the search's, as `view` has it, where it is drawn from
    that. parameters: those it shows, by their labels. why: in words, where it can't be drawn."""

    name: str
    kind: Kind
    title: str
    note: str
    metric: str
    study: optuna.Study | None = None
    parameters: tuple[str, ...] = ()
    why: str | None = None


def panels(story: Story) -> list[Panel]:
    """In the order of the page; of two metrics, each has its own."""
    found = []
    if len(story.goal.metrics) == 2:
        found.append(_front(story))
    for place, metric in enumerate(story.goal.metrics):
        study = None if story.study is None else view(story, [place])
        of_metric = [_curves(story, metric), _history(story, metric, study), _importances(story, metric, study)]
        of_metric += [_parallel(story, metric, study), *_slices(story, metric, study)]
        if len(story.goal.metrics) == 2:
            of_metric = [replace(p, name=f"{p.name}-{metric}", title=f"{p.title}: {title(metric)}") for p in of_metric]
        found += of_metric
    return found


def view(story: Story, places: list[int]) -> optuna.Study:
    """A copy of the study, in memory, of the metrics at these places, with its parameters under their short labels.

    Optuna's importances and colours take a target that is picked out of two as one to lower: a study of one metric
    knows its direction.
    """
    assert story.study is not None
    study = optuna.create_study(directions=[story.goal.directions[place] for place in places])
    labels = story.labels
    for trial in story.study.get_trials(deepcopy=False):
        values = None if trial.values is None else [trial.values[place] for place in places]
        study.add_trial(
            create_trial(
                state=trial.state,
                values=values if trial.state != TrialState.FAIL else None,
                params={labels.get(key, key): value for key, value in trial.params.items()},
                distributions={labels.get(key, key): kind for key, kind in trial.distributions.items()},
            )
        )
    return study


def done(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that were trained to the end."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _curves(story: Story, metric: str) -> Panel:
    any_epoch = any(metric in epoch for row in story.rows for epoch in row.history)
    note = "Every trial's validation score after each epoch."
    if story.rungs and story.space:
        scheduler = story.space.header.scheduler
        note += f" Dashed verticals: the rungs, where one trial of {scheduler.factor} goes on."
    why = None if any_epoch else "no trial has finished an epoch"
    return Panel("curves", "curves", "Learning curves", note, metric, why=why)


def _history(story: Story, metric: str, study: optuna.Study | None) -> Panel:
    pruned = sum(row.state == "pruned" for row in story.rows)
    note = "The score of each trial that was trained to the end, and the best so far."
    note += " Rings: pruned trials, in their best epoch." if pruned else ""
    return Panel("history", "history", "Optimisation history", note, metric, study, why=_too_few(story, study, 1))


def _importances(story: Story, metric: str, study: optuna.Study | None) -> Panel:
    panel = Panel("importances", "importances", "Parameter importances", "", metric, study)
    why = _too_few(story, study, 2)
    if study is None or why:
        return replace(panel, why=why)
    trials = done(study)
    parameters = {key for trial in trials for key in trial.params}
    if len(parameters) == 1:
        why = f"only one parameter is varied, {parameters.pop()}"
    elif len({trial.value for trial in trials}) == 1:
        why = f"all {len(trials)} trials that were trained to the end have the same {title(metric)}"
    elif len(trials) < LEAST:
        why = f"{len(trials)} trials that were trained to the end are too few to tell the parameters apart"
    else:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            weights = optuna.importance.get_param_importances(study)
        if any("will be equal" in str(warning.message) for warning in said) or len(set(weights.values())) == 1:
            why = f"the {len(trials)} trials that were trained to the end don't tell the parameters apart"
    note = f"Share of the difference between good trials and others (PED-ANOVA), from {len(trials)} trials"
    note += "; so few say little." if len(trials) < FEW else "."
    return replace(panel, note=note, why=why)


def _parallel(story: Story, metric: str, study: optuna.Study | None) -> Panel:
    note = "A line a trial that was trained to the end; the stronger its colour, the better. An axis each parameter."
    trials = [] if study is None else done(study)
    if len({frozenset(trial.params) for trial in trials}) > 1:
        note += " None: a trial without that one."
    why = _too_few(story, study, 2)
    return Panel("parallel", "parallel", "Parallel coordinates", note, metric, study, why=why)


def _slices(story: Story, metric: str, study: optuna.Study | None) -> list[Panel]:
    note = "Score against one parameter at a time; the stronger the colour, the later the trial."
    panel = Panel("slices", "slices", "Slices", note, metric, study, why=_too_few(story, study, 2))
    if study is None or panel.why:
        return [panel]
    there = {key for trial in done(study) for key in trial.params}
    labels = [label for label in story.labels.values() if label in there]
    rows = [tuple(labels[start : start + ROW]) for start in range(0, len(labels), ROW)]
    if len(rows) == 1:
        return [replace(panel, parameters=rows[0])]
    return [
        replace(panel, name=f"slices-{number}", title=f"Slices {number} of {len(rows)}", parameters=row)
        for number, row in enumerate(rows, start=1)
    ]


def _front(story: Story) -> Panel:
    first, second = story.goal.metrics
    note = "Trials on the front are those that no other beats in both metrics."
    study = None if story.study is None else view(story, [0, 1])
    name = f"{title(first)} against {title(second)}"
    return Panel("front", "front", f"Trade-off: {name}", note, first, study, why=_too_few(story, study, 1))


def _too_few(story: Story, study: optuna.Study | None, least: int) -> str | None:
    """Why there is nothing to draw, where fewer trials than `least` were trained to the end."""
    if study is None:
        return story.no_study
    count = len(done(study))
    if count >= least:
        return None
    others = {state: sum(row.state == state for row in story.rows) for state in ("pruned", "failed", "stopped")}
    words = ", ".join(f"{n} {state}" for state, n in others.items() if n)
    what = "only one trial was" if count else "no trial was"
    return f"{what} trained to the end" + (f" ({words})" if words else "")
