"""A cluster of two nodes on this machine that loses one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import pytest

from capetune.cluster.probe import check_machines
from capetune.errors import UserError

pytestmark = pytest.mark.timeout(600)

CLUSTER = """
import subprocess, sys
import psutil
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": True, "dashboard_port": 0})
node = cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
family = psutil.Process().children(recursive=True)
command = [sys.executable, "-u", "-c", sys.argv[1], cluster.address, sys.argv[2]]
driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
said = [driver.stdout.readline(), driver.stdout.readline()]
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
    from capetune.cluster.probe import LostNodes, check_machines
    from capetune.errors import UserError
    from capetune.storage.address import open_place
    # What is in memory is one process's own, as a folder is one machine's.
    open_place("memory://own/pack").write("manifest.json", b"1")
    said, pack = [], sys.argv[2]
    for runs, data in ((pack, pack), (pack, "memory://own/pack"), ("memory://own/runs", pack)):
        try:
            said.append(str(check_machines(runs, data, "manifest.json", ours=False)))
        except UserError as error:
            said.append(str(error))
    print(*said, sep="; ")
    lost_nodes = LostNodes()
    waiting = [ray.remote(num_cpus=1, max_retries=1)(lambda: time.sleep(600)).remote() for _ in range(2)]
    print(cluster.cpus, lost_nodes())
    until = time.monotonic() + 120
    while not (lost := lost_nodes()) and time.monotonic() < until:
        time.sleep(0.5)
    time.sleep(3)  # what Ray says comes along with it
    print(len(lost), lost_nodes())
"""


@pytest.mark.deploy
def test_every_machine_is_probed_and_a_lost_one_is_known_of_without_a_word_of_ray_s(tmp_path):
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "manifest.json").write_text("{}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    # Nodes on one machine agree on their address only where it is loopback; a cluster that is joined has no token here.
    environment |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    environment |= {"RAY_AUTH_MODE": "disabled", "HOME": str(tmp_path)}
    environment |= {"CAPETUNE_CACHE": str(tmp_path / "cache")}
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as short:
        command = [sys.executable, "-c", CLUSTER, DRIVER, str(pack)]
        environment |= {"RAY_TMPDIR": short, "TMPDIR": short}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    probed, *lost = done.stdout.splitlines()
    both, unread, unwritten = probed.split("; machine ")
    assert both == "2"
    assert "can't read memory://own/pack: " in unread
    assert "see the credentials in its environment" in unread
    assert "can't write into memory://own/runs: what it wrote there can't be seen from here" in unwritten
    assert [file.name for file in pack.iterdir()] == ["manifest.json"]
    assert lost == ["2 []", "1 []"], done.stderr


def test_this_machine_needs_no_other_process_to_be_probed(tmp_path):
    (tmp_path / "pack").mkdir()
    with pytest.raises(UserError, match=rf"can't read {tmp_path}/pack: .*; give --data a folder that all machines"):
        check_machines(str(tmp_path / "runs"), str(tmp_path / "pack"), "manifest.json", ours=True)
    (tmp_path / "pack/manifest.json").write_text("{}")
    assert check_machines(str(tmp_path / "runs"), str(tmp_path / "pack"), "manifest.json", ours=True) == 1
    assert list((tmp_path / "runs").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=rf"can't write into {tmp_path}/file: .*; give --runs a folder that all"):
        check_machines(str(tmp_path / "file"), str(tmp_path / "pack"), "manifest.json", ours=True)
