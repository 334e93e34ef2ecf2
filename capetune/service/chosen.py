"""The checkpoint that a verb is asked about."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from capetune.errors import UserError
from capetune.events import CheckpointChosen, Listener
from capetune.runs.checkpoints import CheckpointMeta
from capetune.runs.home import at_home
from capetune.runs.registry import chosen_checkpoint, find_run, latest_best
from capetune.storage.address import is_address

UNCALIBRATED = "this checkpoint is of an older capetune: its scores aren't calibrated, and mostly too low"


def check_geometry(meta: CheckpointMeta, verb: str) -> None:
    """Raises UserError where the model looks at images of supports, which `verb` can't show it yet."""
    if meta.config.model.support.looks:
        raise UserError(
            f"this model looks at the images of supports (model.support.source={meta.config.model.support.source}), "
            f"and {verb} shows it none: take a model that was trained with model.support.source=geometry, or "
            "`capetune predict --category NAME`"
        )


def checkpoint_of(asked: Path | str | None, runs: Path, listener: Listener, copies: ExitStack) -> Path:
    """asked: a checkpoint's or a run's folder or address, or a name of a run below `runs`; of a run its best is taken.
    None: the best of the latest run that has any, of which the listener hears. copies: takes what must be there to the
    end. Raises UserError where there is none; whether a folder is a checkpoint who reads it will see."""
    if asked is None:
        checkpoint, best = latest_best(runs)
        listener(CheckpointChosen(str(checkpoint), best.epoch))
        return chosen_checkpoint(checkpoint)
    if is_address(asked) or Path(asked).exists() or len(Path(asked).parts) > 1:
        return chosen_checkpoint(copies.enter_context(at_home(asked)))
    return chosen_checkpoint(find_run(runs, str(asked)).folder)
