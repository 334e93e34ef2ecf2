"""Copies of a search's study, in memory, for figures that Optuna draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from capetune.reports.story import Story
from capetune.tuning.warm import EARLIER

LONGEST = 18  # characters of a value on an axis


def copied(story: Story, places: list[int], scores: Mapping[int, float | None] | None = None) -> optuna.Study:
    """A copy of the metrics at these places of the goal, with its parameters under their short labels.

    scores: trial's number → its value; a trial that has one is complete, any other failed, so that all keep their
    numbers. Where none are given, states and values are the study's own; what an earlier search trained is failed.
    The story has a study.

    Optuna's importances and colours take a target that is picked out of two as one to lower: a study of one metric
    knows its direction.
    """
    assert story.study is not None
    study = optuna.create_study(directions=[story.goal.directions[place] for place in places])
    labels = story.labels
    for trial in story.study.get_trials(deepcopy=False):
        state, values = trial.state, trial.values and [trial.values[place] for place in places]
        if EARLIER in trial.user_attrs:
            state, values = TrialState.FAIL, None
        if scores is not None:
            score = scores.get(trial.number)
            state, values = (TrialState.FAIL, None) if score is None else (TrialState.COMPLETE, [score])
        texts = {key: _texts(kind) for key, kind in trial.distributions.items()}
        kinds = {key: _kind(kind, texts[key]) for key, kind in trial.distributions.items()}
        study.add_trial(
            create_trial(
                state=state,
                values=None if state == TrialState.FAIL else values,
                params={labels.get(key, key): _text(value, texts[key]) for key, value in trial.params.items()},
                distributions={labels.get(key, key): kind for key, kind in kinds.items()},
            )
        )
    return study


def done(study: optuna.Study) -> list[FrozenTrial]:
    """Its complete trials."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _kind(kind: BaseDistribution, texts: dict[str, str]) -> BaseDistribution:
    if not isinstance(kind, CategoricalDistribution):
        return kind
    return CategoricalDistribution([_text(choice, texts) for choice in kind.choices])


def _text(value: Any, texts: dict[str, str]) -> Any:
    return texts[value] if isinstance(value, str) else value


def _texts(kind: BaseDistribution) -> dict[str, str]:
    """Each choice that is a text → as an axis shows it: of its length, and nothing that is read as markup."""
    choices = [value for value in getattr(kind, "choices", ()) if isinstance(value, str)]
    cut = {value: value if len(value) <= LONGEST else f"{value[:7]}…{value[8 - LONGEST :]}" for value in choices}
    count = Counter(cut.values())
    # Plotly takes <b> for bold, whatever is done to escape it.
    return {value: (text if count[text] == 1 else value).replace("<", "‹") for value, text in cut.items()}
