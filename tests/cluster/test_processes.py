"""The parts of starting Ray that need no Ray, but for one; the whole is in tests/integration."""

from __future__ import annotations

import signal

from capetune.cluster import processes


def test_signals_go_back_to_whom_they_belong():
    before = [signal.getsignal(number) for number in processes.SIGNALS]
    with processes.own_signals():
        for number in processes.SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    assert [signal.getsignal(number) for number in processes.SIGNALS] == before
