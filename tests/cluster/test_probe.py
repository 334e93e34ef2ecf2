"""A cluster of two nodes on this machine that loses one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import pytest

pytestmark = pytest.mark.timeout(600)

CLUSTER = """
import subprocess, sys
import psutil
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": True, "dashboard_port": 0})
node = cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
family = psutil.Process().children(recursive=True)
command = [sys.executable, "-u", "-c", sys.argv[1], cluster.address]
driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
said = [driver.stdout.readline()]
cluster.remove_node(node, allow_graceful=False)
said += driver.stdout.readlines()
driver.wait()
cluster.shutdown()
psutil.wait_procs(family, 60)  # agents outlive their node for a while, and write into its folder
print("".join(said), end="")
"""
DRIVER = """
import sys, time
from capetune.cluster.session import ray_cluster
with ray_cluster(sys.argv[1]) as cluster:
    import ray
    from capetune.cluster.probe import lost_nodes
    known = set()
    waiting = [ray.remote(num_cpus=1, max_retries=1)(lambda: time.sleep(600)).remote() for _ in range(2)]
    print(cluster.cpus, lost_nodes(known))
    until = time.monotonic() + 120
    while not (lost := lost_nodes(known)) and time.monotonic() < until:
        time.sleep(0.5)
    time.sleep(3)  # what Ray says comes along with it
    print(len(lost), lost_nodes(known))
"""


def test_a_lost_node_is_known_of_and_nothing_of_its_state_is_printed(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    # Nodes on one machine agree on their address only where it is loopback; a cluster that is joined has no token here.
    environment |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    environment |= {"RAY_AUTH_MODE": "disabled", "HOME": str(tmp_path)}
    environment |= {"CAPETUNE_CACHE": str(tmp_path / "cache")}
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as short:
        command = [sys.executable, "-c", CLUSTER, DRIVER]
        environment |= {"RAY_TMPDIR": short, "TMPDIR": short}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["2 []", "1 []"], done.stderr
