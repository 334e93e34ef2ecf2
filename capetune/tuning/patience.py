"""Optuna's database, asked again while it is locked or away: a backup, another program's lock, a restart."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.exc import InterfaceError, OperationalError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

PATIENCE = 90.0  # seconds
AWAY = (OperationalError, InterfaceError)


class PatientStorage(RDBStorage):
    """Each question is asked anew, at growing intervals, for up to PATIENCE; then the database's error is raised."""

    def __init__(self, url: str) -> None:
        super().__init__(url, engine_kwargs={"pool_pre_ping": True})  # a connection may be older than a restart


def away(error: BaseException) -> bool:
    """Whether the database, not what it was asked, is the reason of an error; of Tune's, too, which hold another's
    traceback as text."""
    inner = error.__cause__ if isinstance(error, StorageInternalError) else error
    if isinstance(inner, AWAY):
        return True
    from ray.tune import TuneError  # seconds, which who only reads a study needn't wait for

    return isinstance(error, TuneError) and any(f"sqlalchemy.exc.{kind.__name__}" in str(error) for kind in AWAY)


def _again(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def asked(*arguments: Any, **named: Any) -> Any:
        wait, stop = wait_exponential_jitter(0.2, max=5.0), stop_after_delay(PATIENCE)
        return Retrying(retry=retry_if_exception(away), wait=wait, stop=stop, reraise=True)(method, *arguments, **named)

    return asked


# What Optuna's cache, which it puts before a database, asks that by.
CACHE_S = ("_create_new_trial", "_get_best_trial_id", "_get_stale_trial_ids", "_get_trials", "_set_trial_param")
for _name in (*CACHE_S, *(name for name in dir(BaseStorage) if not name.startswith("_"))):
    setattr(PatientStorage, _name, _again(getattr(RDBStorage, _name)))
