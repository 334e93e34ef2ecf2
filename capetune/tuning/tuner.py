"""Ray Tune as searches and promotions run it: without words of its own, a lost process tried once more."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback

from capetune.tuning.names import actors_named
from capetune.tuning.preflight import Plan

STATE = ".tune"  # Tune's own files; nothing is read from them


def run_tuner(
    trainable: type,
    folder: Path,
    tune_config: tune.TuneConfig,
    callbacks: Sequence[tune.Callback],
    stop: tune.Stopper | None = None,
) -> None:
    """Let Tune run its trials to the end. trainable: as `named_trainable` makes it. folder: of the run here, for
    Tune's own state."""
    shutil.rmtree(folder / STATE, ignore_errors=True)
    tuner = tune.Tuner(
        trainable,
        tune_config=tune_config,
        run_config=tune.RunConfig(
            name=STATE,
            storage_path=str(folder.resolve()),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=4),  # of those that pbt hands from trial to trial
            failure_config=tune.FailureConfig(max_failures=1),  # of a lost process: errors are ours to settle
            stop=stop,
            callbacks=[*callbacks, _Quiet()],
            verbose=0,
        ),
    )
    with warnings.catch_warnings(), actors_named(folder.name):
        # Paused trials' threads hold their folders: another trial's process must not be theirs.
        warnings.filterwarnings("ignore", "Consider boosting PBT performance by enabling `reuse_actors`")
        tuner.fit()
    shutil.rmtree(folder / STATE, ignore_errors=True)


def resources(plan: Plan) -> dict[str, float]:
    """What a trial's own process reserves. Its workers, where it has several, reserve their own: it takes no CPU then,
    for of all CPUs none may be left, but a trifle of the head node, where it belongs."""
    if plan.workers > 1:
        return {"node:__internal_head__": 0.001}
    return plan.reserved


class _Quiet(TrialProgressCallback):
    """Keeps Tune from printing lines of its own about trials that end without a result."""

    def _print(self, msg: str) -> None:
        pass
