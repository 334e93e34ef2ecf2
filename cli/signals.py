"""Ctrl-C and SIGTERM: how a command ends that somebody wants ended."""

from __future__ import annotations

import math
import signal
import time

SIGNALS = (signal.SIGINT, signal.SIGTERM)
IMPATIENCE = 10.0  # seconds after a signal in which another one says nothing new


def heed() -> list[signal.Signals]:
    """Let either of them raise KeyboardInterrupt, so that Ray is stopped and run.json says interrupted; an impatient
    second one must not strike while that is done. Returns a list whose one item is the signal that came."""
    received = [signal.SIGINT]
    heard = -math.inf

    def end(number: int, frame: object) -> None:
        nonlocal heard
        if time.monotonic() - heard >= IMPATIENCE:
            heard = time.monotonic()
            received[0] = signal.Signals(number)
            raise KeyboardInterrupt

    for each in SIGNALS:
        if signal.getsignal(each) != signal.SIG_IGN:  # as where a shell began the command in the background
            signal.signal(each, end)
    return received


def ignore() -> None:
    """Nothing is left but Python's own end: another Ctrl-C would only print a traceback out of it."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
