"""MLflow and Weights & Biases, by Ray's own callbacks: every trial a run there, every epoch's metrics in it."""

from __future__ import annotations

import os
from pathlib import Path

from ray import tune

from capetune.errors import UserError


def make_tracker(name: str, folder: Path) -> tune.Callback:
    """mlflow: an experiment named as the run's folder, where MLFLOW_TRACKING_URI says. wandb: a group of that name in
    the project WANDB_PROJECT, else `capetune`; its files lie in the folder.

    Raises UserError where the package isn't installed, or its server can't be reached or knows us not.
    """
    try:
        callback = _mlflow(folder) if name == "mlflow" else _wandb(folder)
    except (ImportError, RuntimeError):  # the one's way to say so, and the other's
        raise UserError(f"--track {name} needs another package: pip install 'capetune[{name}]'") from None
    try:
        callback.setup()  # Tune does so again: what is wrong is wrong before anything starts
    except Exception as error:  # of either, or of the network
        raise UserError(f"--track {name}: {str(error).splitlines()[0]}") from None
    return callback


def _mlflow(folder: Path) -> tune.Callback:
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    return MLflowLoggerCallback(os.environ.get("MLFLOW_TRACKING_URI"), experiment_name=folder.name)


def _wandb(folder: Path) -> tune.Callback:
    from ray.air.integrations.wandb import WandbLoggerCallback

    class Callback(WandbLoggerCallback):
        def __del__(self) -> None:
            """What is left to send was sent when Tune ended; Ray's own fails when Python ends."""

    place = folder.resolve()
    return Callback(os.environ.get("WANDB_PROJECT", "capetune"), group=folder.name, dir=str(place))
