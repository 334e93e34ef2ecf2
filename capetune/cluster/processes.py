"""Ray's processes and signals: kept apart from ours while they run, ended with the session."""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psutil

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 1.0  # seconds that processes get to end by themselves


@contextmanager
def own_signals() -> Iterator[None]:
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
def group_apart(services: Any) -> Iterator[None]:
    """Start Ray's processes in process groups of their own. services: the module ray._private.services.

    A SIGTERM to all of ours (`timeout`, a batch system) would end Ray beneath us, and its C++ ends a driver whose
    raylet is gone, at once and with exit code 1, before we hear of the signal. Ray has no setting for it; that its
    processes end with us, even killed, is seen to by Linux, and elsewhere by a reaper that needs them in our group.
    """
    popen = services.ConsolePopen
    if sys.platform == "linux":
        services.ConsolePopen = functools.partial(popen, process_group=0)
    try:
        yield
    finally:
        services.ConsolePopen = popen


@contextmanager
def unread(parameter: Any) -> Iterator[None]:
    """Start Ray without the process that reads its workers' logs, which nobody is to hear: half a second of a core at
    the start. `ray start` has a setting for it, ray.init has none. parameter: the module ray._private.parameter."""
    params = parameter.RayParams
    parameter.RayParams = functools.partial(params, include_log_monitor=False)
    try:
        yield
    finally:
        parameter.RayParams = params


@contextmanager
def unheard(worker: Any) -> Iterator[None]:
    """Join Ray without its listener of other nodes' errors, which prints on our stdout, over a live table, and for each
    lost node thirty lines of its raylet's state. Ray has no setting for it. worker: the module ray._private.worker.
    """
    listen = worker.listen_error_messages
    worker.listen_error_messages = lambda *_: None
    try:
        yield
    finally:
        worker.listen_error_messages = listen


def end_ray(before: Sequence[psutil.Process], shutdown: Callable[[], None]) -> None:
    """End Ray by its own `shutdown`, then every process of ours but those of `before`.

    A second Ctrl-C meanwhile is ignored: it would leave processes behind.
    """
    with own_signals():
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
        started = [child for child in psutil.Process().children(recursive=True) if child not in before]
        shutdown()
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
