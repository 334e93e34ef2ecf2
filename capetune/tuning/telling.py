"""What Optuna's study is told of the trials."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.trial import TrialState

from capetune.runs.results import TrialResult
from capetune.tuning.goal import Goal


def tell_epochs(study: optuna.Study, number: int, epochs: Sequence[tuple[int, float]]) -> None:
    """Let the study of one metric know a running trial's scores, by which samplers judge those that are pruned."""
    trial = study.get_trials(deepcopy=False)[number]
    new = [pair for pair in epochs if pair[0] not in trial.intermediate_values]
    if new and not trial.state.is_finished() and len(study.directions) == 1:  # Optuna takes none of two metrics
        running = optuna.trial.Trial(study, trial._trial_id)
        for epoch, score in new:
            running.report(score, epoch)


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
