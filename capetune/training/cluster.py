"""Start Ray safely and quietly, or join a running cluster (shared facts: Ray listens on the machine's own address,
without a password, unless it is told otherwise)."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from capetune.datasets.builtin import cache_folder, writable_cache
from capetune.errors import UserError

DASHBOARD_PORT = 8265
SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 1.0  # seconds that processes get to end by themselves


@dataclass(frozen=True)
class Cluster:
    """dashboard: URL. token: file whose content the dashboard asks for, None where the cluster isn't ours.

    machines: (CPUs, GPUs) of each. cpus, gpus: what the cluster has in all.
    """

    dashboard: str
    token: Path | None
    machines: tuple[tuple[int, int], ...]

    @property
    def cpus(self) -> int:
        return sum(cpus for cpus, _ in self.machines)

    @property
    def gpus(self) -> int:
        return sum(gpus for _, gpus in self.machines)

    def places(self, threads: int) -> int:
        """How many workers of so many CPUs, and of one GPU where the cluster has any, it has room for: each of them
        needs its CPUs on one machine."""
        rooms = (min(cpus // threads, gpus) if self.gpus else cpus // threads for cpus, gpus in self.machines)
        return sum(rooms)

    def threads(self, workers: int) -> int:
        """How many CPUs each of so many workers can have, 1 at least."""
        most = max((cpus for cpus, _ in self.machines), default=1)
        return next((count for count in range(most, 1, -1) if self.places(count) >= workers), 1)


@contextmanager
def ray_cluster(address: str | None = None, verbose: bool = False, cpus: int | None = None) -> Iterator[Cluster]:
    """A Ray session, ended on leaving, however that comes about.

    address: None starts Ray here, bound to loopback and guarded by a token; else a running cluster to join, such as
    `auto` or `host:6379`, from one of its machines. verbose: let Ray and its workers print. cpus: logical CPUs of
    a local Ray; default all. Raises UserError where the cluster can't be reached or the dashboard doesn't start.
    """
    prepare_environment(address, verbose)
    if address:
        _check_address(address)
    import ray

    before = psutil.Process().children(recursive=True)
    try:
        context = _join(address, verbose) if address else _start(verbose, cpus, before)
        if not verbose:
            _hush()
        if not context.dashboard_url:
            raise UserError("that Ray has no dashboard, and without it trials keep their CPUs")
        found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        machines = tuple((int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in found)
        url = context.dashboard_url
        url = url if url.startswith("http") else f"http://{url}"
        yield Cluster(url, _token_file() if address is None else None, machines)
    finally:
        _stop(before)


def _join(address: str, verbose: bool) -> Any:
    import ray

    try:
        with _own_signals():
            return ray.init(address, log_to_driver=verbose, logging_level=logging.INFO if verbose else logging.ERROR)
    except Exception as error:  # Ray raises plain ones, too
        raise UserError(f"can't join the Ray cluster at {address}: {_line(error)}") from None


def _start(verbose: bool, cpus: int | None, before: Sequence[psutil.Process]) -> Any:
    """Start Ray here, a second time where its dashboard didn't start: of two Rays that start at once, both may find the
    usual port free."""
    import ray

    why = ""
    for preferred in (DASHBOARD_PORT, 0):
        port = _free_port(preferred)
        # Train's and Tune's cleaners ask the dashboard. Left to search for it, they take what another Ray on this
        # machine has left or runs, and every training's end waits 12 s for them.
        os.environ["RAY_API_SERVER_ADDRESS"] = f"http://127.0.0.1:{port}"
        try:
            with _own_signals(), _group_apart():
                context = ray.init(
                    "local",
                    num_cpus=cpus or os.cpu_count(),
                    include_dashboard=True,
                    dashboard_host="127.0.0.1",
                    dashboard_port=port,
                    log_to_driver=verbose,
                    logging_level=logging.INFO if verbose else logging.CRITICAL,
                )
            if context.dashboard_url:
                return context
            why = "its dashboard didn't start, and without it trials keep their CPUs"
        except Exception as error:  # Ray raises plain ones where its dashboard takes too long to start
            why = _line(error)
        _stop(before)
    raise UserError(f"can't start Ray: {why}; look closer with -v")


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def prepare_environment(address: str | None, verbose: bool) -> None:
    """Set what Ray reads from the environment when it is imported: call this before anything imports it."""
    guarded = os.environ.get("RAY_AUTH_TOKEN_PATH") == str(_token_file())
    assert address or guarded or "ray" not in sys.modules, "Ray was imported before its environment was prepared"
    if address is None:
        _guard()
    _set_environment(verbose)


def _check_address(address: str) -> None:
    """Raises UserError where nobody answers: Ray itself would go on trying for minutes."""
    if address.startswith("ray://"):
        raise UserError("ray:// is not supported: run capetune on a machine of the cluster, with --address auto")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return  # `auto`, or what Ray knows better
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE * 5).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"can't join the Ray cluster at {address}: {error}") from None


def _token_file() -> Path:
    return cache_folder() / "ray-token"


def _guard() -> None:
    """Bind Ray to loopback and ask for a token on every connection; its file is readable to us only."""
    file = _token_file()
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


def _set_environment(verbose: bool) -> None:
    defaults = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TRAIN_V2_ENABLED": "1",
        "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C must reach us: Tune's own handler returns as if all were done
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # it is how long each epoch's report waits; default 2
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that failed, or was whole already, ends without any
        "TUNE_GLOBAL_CHECKPOINT_S": "60",  # nothing is read from Tune's own snapshots
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    }
    if not verbose:
        defaults |= {"RAY_AIR_NEW_OUTPUT": "0", "RAY_LOG_TO_DRIVER": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Leave SIGINT and SIGTERM to whom they belong: ray.init takes SIGTERM and dumps a stack of C++ on it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _group_apart() -> Iterator[None]:
    """Start Ray's processes in process groups of their own.

    A SIGTERM to all of ours (`timeout`, a batch system) would end Ray beneath us, and its C++ ends a driver whose
    raylet is gone, at once and with exit code 1, before we hear of the signal. Ray has no setting for it; that its
    processes end with us, even killed, is seen to by Linux, and elsewhere by a reaper that needs them in our group.
    """
    import ray._private.services

    services: Any = ray._private.services
    popen = services.ConsolePopen
    if sys.platform == "linux":
        services.ConsolePopen = functools.partial(popen, process_group=0)
    try:
        yield
    finally:
        services.ConsolePopen = popen


def _stop(before: Sequence[psutil.Process]) -> None:
    """End Ray and every process of ours but those of `before`.

    A second Ctrl-C meanwhile is ignored: it would leave processes behind.
    """
    import ray

    with _own_signals():
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
        started = [child for child in psutil.Process().children(recursive=True) if child not in before]
        ray.shutdown()
        # Workers end themselves once their raylet is gone; not all of them do so before we return.
        for process in _waited_for(started):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _waited_for(started)


def _waited_for(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Those that still run after a while. A zombie doesn't: it waits for init, which may take its time."""
    until = time.monotonic() + PATIENCE
    while alive := [process for process in processes if _runs(process)]:
        if time.monotonic() > until:
            break
        time.sleep(0.02)
    return alive


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _hush() -> None:
    """Errors only; none from Tune and Train, which print tracebacks of failures that we report ourselves."""
    ours = ("ray.tune", "ray.train")
    for name in [*logging.root.manager.loggerDict, *ours]:
        if name == "ray" or name.startswith("ray."):
            logging.getLogger(name).setLevel(logging.CRITICAL if name.startswith(ours) else logging.ERROR)


def _free_port(preferred: int) -> int:
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UserError("no free port for Ray's dashboard")
