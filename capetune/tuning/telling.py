"""What Optuna's study is told of the trials."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.trial import TrialState

from capetune.runs.results import TrialResult
from capetune.tuning.goal import Goal


def tell_epochs(study: optuna.Study, number: int, epochs: Sequence[tuple[int, float]]) -> None:
    """Let the study of one metric know a running trial's scores, by which samplers judge those that are pruned."""
    if len(study.directions) > 1:
        return  # Optuna takes none of two metrics
    storage = study._storage  # `study.get_trials` copies all trials, for each epoch of each
    identity = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    trial = storage.get_trial(identity)
    for epoch, score in epochs:
        if epoch not in trial.intermediate_values and not trial.state.is_finished():
            storage.set_trial_intermediate_value(identity, epoch, score)


def tell(study: optuna.Study, result: TrialResult, goal: Goal) -> None:
    """Let the study know how a trial ended; one that it knows of stays as it is. One that diverged is the worst there
    is: a sampler that weren't told would go on proposing what diverges."""
    tell_epochs(study, result.number, result.history)
    if result.status == "failed":
        study.tell(result.number, state=TrialState.FAIL, skip_if_finished=True)
    elif result.status == "pruned" and len(goal.metrics) == 1:
        study.tell(result.number, state=TrialState.PRUNED, skip_if_finished=True)
    else:
        values = goal.values(result)
        study.tell(result.number, values, TrialState.COMPLETE, skip_if_finished=True)
