"""A cluster that begins without a machine, grows, has two searches at once, and loses a machine: on loopback."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from capetune.runs.history import read_history

from .machines import LOOPBACK, ray_machines

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]
EPOCHS = 60

# A head without CPUs; a line adds a machine of one, or takes the first away.
CLUSTER = """
cluster, machines = begin(num_cpus=0), []
line = tell(cluster)
while line:
    if line == "add":
        machines.append(cluster.add_node(num_cpus=1))
    else:
        cluster.remove_node(machines.pop(0), allow_graceful=False)
    family.update(psutil.Process().children(recursive=True))
    line = sys.stdin.readline().strip()
"""


@pytest.fixture
def cluster(temporary: Path) -> Iterator[subprocess.Popen]:
    with ray_machines(CLUSTER, temporary) as machines:
        yield machines


def test_places_follow_machines_and_two_searches_share_them(cluster, start, place, tiny_pack, trials_of):
    address = cluster.stdout.readline().strip()
    (place / "plain.yaml").write_text("scheduler: none\nloss.tokens: {log: [0.1, 1.0]}\n")

    def begin(name: str, trials: int):
        words = ("search", "--space", "plain.yaml", "--data", tiny_pack, "--trials", trials, "--name", name)
        return start(*words, "--address", address, set_={"train.epochs": EPOCHS}, also=LOOPBACK)

    def tell(line: str) -> None:
        cluster.stdin.write(f"{line}\n")
        cluster.stdin.flush()

    first = begin("first", 6)
    first.wait_for("no machine of the cluster has a CPU")
    tell("add")
    first.wait_for(f"trial 0 (default): running, epoch 1/{EPOCHS}")
    tell("add")
    first.wait_for(f"trial 1: running, epoch 1/{EPOCHS}")
    assert not [line for line in first.out if line.startswith("trial 0 (default): completed")]
    second = begin("second", 2)
    second.wait_for(f"trial 0 (default): running, epoch 1/{EPOCHS}")
    tell("take")
    second.wait_for("trial 1: running")  # of one place that is left, each has its turn
    assert first.process.poll() is None
    assert second.end() == 0, second.err
    assert first.end() == 0, first.err
    for name, trials in (("first", 6), ("second", 2)):
        folder = place / "runs" / name
        states = {number: trial["status"] for number, trial in trials_of(folder).items()}
        assert states == dict.fromkeys(range(trials), "completed")
        for number in range(trials):
            epochs = [row["epoch"] for row in read_history(folder / f"trials/trial-{number:03d}")]
            assert epochs == list(range(1, EPOCHS + 1))
        kinds = [json.loads(line)["event"] for line in (folder / "events.jsonl").read_text().splitlines()]
        assert kinds.count("node_lost") == 1
