"""A machine of a joined cluster is taken away in the middle of a search: Ray's own processes, on loopback."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from capetune.runs.history import read_history

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

# Two machines of one CPU each; the second is killed at the first line that is written to it.
CLUSTER = """
import sys
import psutil
from ray.cluster_utils import Cluster
head = {"num_cpus": 1, "include_dashboard": True, "dashboard_host": "127.0.0.1"}
head |= {"temp_dir": sys.argv[1], "dashboard_port": int(sys.argv[2])}
cluster = Cluster(initialize_head=True, head_node_args=head)
second = cluster.add_node(num_cpus=1)
family = psutil.Process().children(recursive=True)
print(cluster.address, flush=True)
sys.stdin.readline()
cluster.remove_node(second, allow_graceful=False)
sys.stdin.readline()
cluster.shutdown()
psutil.wait_procs(family, 60)  # agents outlive their node for a while, and write into its folder
"""
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "disabled"}


@pytest.fixture
def cluster(temporary: Path):
    place = temporary / "c"  # the machine that is killed can't tidy up
    (place / "t").mkdir(parents=True)
    environment = os.environ | LOOPBACK | {"TMPDIR": str(place / "t"), "RAY_health_check_period_ms": "500"}
    environment["RAY_worker_niceness"] = "0"  # else tests beside this one leave its workers no processor for minutes
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", CLUSTER, str(place / "t/ray"), str(port)]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.communicate("\n\n", timeout=120)
    shutil.rmtree(place)


def test_a_search_loses_a_machine_says_so_in_a_line_and_trains_every_trial(cluster, start, place, tiny_pack, trials_of):
    address = cluster.stdout.readline().strip()
    assert address.startswith("127.0.0.1:")
    space = place / "space.yaml"
    space.write_text("scheduler: none\nloss.tokens: {log: [0.1, 1.0]}\n")
    program = start(
        *("search", "--space", space, "--data", tiny_pack, "--trials", 3, "--name", "loss", "--address", address),
        set_={"train.epochs": 30},
        also=LOOPBACK,
    )
    program.wait_for("trial 1: running, epoch 1/30")
    cluster.stdin.write("\n")
    cluster.stdin.flush()
    assert program.end() == 0, program.err
    folder = place / "runs/loss"
    assert len([line for line in program.out if line.startswith("machine ") and "is gone" in line]) == 1
    assert program.err == []
    assert {number: trial["status"] for number, trial in trials_of(folder).items()} == dict.fromkeys(
        range(3), "completed"
    )
    for number in range(3):
        epochs = [row["epoch"] for row in read_history(folder / f"trials/trial-{number:03d}")]
        assert epochs == list(range(1, 31))
    kinds = [json.loads(line)["event"] for line in (folder / "events.jsonl").read_text().splitlines()]
    assert kinds.count("node_lost") == kinds.count("trial_lost") == 1
