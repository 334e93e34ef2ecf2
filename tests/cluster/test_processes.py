"""The parts of starting Ray that need no Ray, but for one; the whole is in tests/integration."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from capetune.cluster import processes


def test_signals_go_back_to_whom_they_belong():
    before = [signal.getsignal(number) for number in processes.SIGNALS]
    with processes.own_signals():
        for number in processes.SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    assert [signal.getsignal(number) for number in processes.SIGNALS] == before


def test_a_signal_to_our_process_group_leaves_ray_to_us(tmp_path):
    code = """
import os, signal, time
from capetune.cluster import session
signal.signal(signal.SIGTERM, lambda number, frame: print("heard"))
with session.ray_cluster(cpus=1):
    import ray
    os.killpg(0, signal.SIGTERM)
    time.sleep(2)  # its processes would end in less
    print(ray.get(ray.remote(lambda: "alive").remote()))
"""
    environment = os.environ | {"CAPETUNE_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        start_new_session=True,
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["heard", "alive"], "")
