"""A Ray of several machines on this one. `benchmarks/faults.py` breaks it too."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

NOT_NICE = {"RAY_worker_niceness": "0"}  # else what runs beside them leaves Ray's workers no processor for minutes
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "disabled"}
BEFORE = """
import sys
import psutil
from ray.cluster_utils import Cluster
def begin(num_cpus):
    head = {"num_cpus": num_cpus, "include_dashboard": True, "dashboard_host": "127.0.0.1"}
    head |= {"temp_dir": sys.argv[1], "dashboard_port": int(sys.argv[2])}
    return Cluster(initialize_head=True, head_node_args=head)
family = set()
def tell(cluster):
    family.update(psutil.Process().children(recursive=True))
    print(cluster.address, flush=True)
    return sys.stdin.readline().strip()
"""
AFTER = """
family.update(psutil.Process().children(recursive=True))
sys.stdin.read()
cluster.shutdown()
psutil.wait_procs(family, 60)  # agents outlive their node for a while, and write into its folder
"""


@contextlib.contextmanager
def ray_machines(code: str, temporary: Path, also: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen]:
    """A process that starts a Ray of several machines, all of them on loopback, and ends it. code: makes `cluster` by
    `begin(num_cpus=…)`, gives its address by `tell(cluster)`, which waits for a line and returns it, and then does to
    it what it does. also: further environment variables.
    """
    place = temporary / "c"  # a machine that is killed can't tidy up
    (place / "t").mkdir(parents=True)
    environment = os.environ | LOOPBACK | NOT_NICE | (also or {})
    environment |= {"TMPDIR": str(place / "t"), "RAY_health_check_period_ms": "500"}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", BEFORE + code + AFTER, str(place / "t/ray"), str(port)]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.communicate("\n\n", timeout=120)
    shutil.rmtree(place)
