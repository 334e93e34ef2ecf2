"""What Ray reads from the environment when it is imported: quiet, bound to loopback, guarded by a token."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from pathlib import Path
from typing import Any

from capetune.storage.cache import cache_folder, writable_cache


def prepare_environment(address: str | None, verbose: bool) -> None:
    """Set what Ray reads from the environment: call this before anything starts it.

    Where this process has imported Ray already, as a notebook may have, Ray reads it again; one that it has started is
    used as it is.
    """
    if started():
        return
    if address is None:
        _guard()
    _set_environment(verbose)
    if "ray" in sys.modules:
        _read_again()


def started() -> bool:
    """Whether this process has a running Ray already."""
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def _read_again() -> None:
    """Ray keeps what it has read when it was imported; it has no public way to change that."""
    raylet: Any = sys.modules["ray._raylet"]
    raylet.Config.initialize("")
    constants: Any = sys.modules["ray._private.ray_constants"]
    constants.ENABLE_RAY_CLUSTER = os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") != "0"


def token_file() -> Path:
    return cache_folder() / "ray-token"


def token_at_hand() -> Path | None:
    """The file in which Ray finds the token of the cluster that it joins; None where the cluster asks for none, or the
    token isn't in a file."""
    if os.environ.get("RAY_AUTH_MODE") != "token" or os.environ.get("RAY_AUTH_TOKEN"):
        return None
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray/auth_token")
    return file if file.is_file() else None


def _guard() -> None:
    """A Ray of our own: bound to loopback, asking for a token on every connection; its file is readable to us only."""
    file = token_file()
    if not file.is_file():
        aside = writable_cache() / f"{file.name}.{os.getpid()}"
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            stream.write(secrets.token_hex(32))
        with contextlib.suppress(FileExistsError):  # another process was first: its Ray counts on its token
            os.link(aside, file)
        aside.unlink()
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(file)
    # Sic: this switch is what keeps Ray from rewriting 127.0.0.1 to the machine's own address and listening there.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    # Nobody takes this machine away by notice; the watcher is a process more for each training to wait for.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")


def _set_environment(verbose: bool) -> None:
    defaults = {
        "MLFLOW_DISABLE_TELEMETRY": "true",  # Tune imports it; nobody asked for its file in the home
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TRAIN_V2_ENABLED": "1",
        "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C must reach us: Tune's own handler returns as if all were done
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # it is how long each epoch's report waits; default 2
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that failed, or was whole already, ends without any
        "GOMP_SPINCOUNT": "5000",  # torch's threads wait for each other in loops, by default for milliseconds: where
        # another program wants the cores too, a step took more than ten times as long
        "TUNE_GLOBAL_CHECKPOINT_S": "60",  # nothing is read from Tune's own snapshots
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    }
    if not verbose:
        defaults |= {"RAY_AIR_NEW_OUTPUT": "0", "RAY_LOG_TO_DRIVER": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
