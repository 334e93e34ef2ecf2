"""A machine of a joined cluster is taken away in the middle of a search: Ray's own processes, on loopback."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from capetune.runs.history import read_history

from .machines import LOOPBACK, ray_machines

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]

# Two machines of one CPU each; the second is killed at the first line that is written to it.
CLUSTER = """
cluster = begin(num_cpus=1)
second = cluster.add_node(num_cpus=1)
tell(cluster)
cluster.remove_node(second, allow_graceful=False)
"""


@pytest.fixture
def cluster(temporary: Path) -> Iterator[subprocess.Popen]:
    with ray_machines(CLUSTER, temporary) as machines:
        yield machines


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
