"""Ray's head, without which Ray's own C++ ends this process after a minute, in words of its own and in the middle of
whatever it does: we notice before."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from capetune.errors import UserError

LOOK = 2.0  # seconds between looks, and for an answer
OURS = 4.0  # seconds without an answer, after which a head that we started is gone
GRACE = 6.0  # for this process to end by itself
OTHERS = 45.0  # one of a cluster may be started anew; Ray's own patience is a minute


class HeadLost(UserError):
    """Raised in the thread that works with Ray, wherever it is just then."""

    def __init__(self) -> None:
        super().__init__("Ray's head is gone; what was finished is kept")


@contextmanager
def watched(gcs: str, ours: bool, again: str, say: Callable[[str], None]) -> Iterator[None]:
    """Raise HeadLost in this thread when the head at `gcs` (host:port) has not answered for long; and end the process
    as Ray would, but sooner, where the thread waits for the head, as Tune's end does, and never hears of it.

    again: what to type next. say: hears a line of each, on another thread.
    """
    ended = threading.Event()
    worker = threading.get_ident()

    def look() -> None:
        heard, said = time.monotonic(), False
        while not ended.wait(LOOK):
            silent = time.monotonic() - heard
            if answers(gcs):
                heard, said = time.monotonic(), False
            elif silent > (OURS if ours else OTHERS):
                break
            elif not ours and not said:
                said = True
                say(f"Ray's head at {gcs} doesn't answer; this ends when it is gone for {OTHERS:.0f} s")
        else:
            return
        say(f"Ray's head is gone; what was finished is kept. Go on with it: {again}")
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(worker), ctypes.py_object(HeadLost))
        if not ended.wait(GRACE):
            sys.stdout.flush()
            os._exit(1)

    thread = threading.Thread(target=look, daemon=True, name="head")
    thread.start()
    try:
        yield
    finally:
        ended.set()


def head_address() -> str:
    """host:port of the head of the Ray that this process is in."""
    import ray

    return str(ray.get_runtime_context().gcs_address)


def answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=LOOK).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True
