"""An elastic training on a joined cluster loses a machine and gets another: Ray's own processes, on loopback."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from capetune.reports.breaks import read_breaks
from capetune.runs.history import read_history

from .conftest import PATIENCE
from .machines import LOOPBACK, ray_machines

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]

# A head, on which the driver and Train's controller are, and two machines. At the first line that is written to it one
# is said to go within a minute, as a cloud says it, and is gone as soon as the file is there that the line names; at
# the second line another one comes.
CLUSTER = """
import pathlib, time
from ray._raylet import GcsClient
cluster = begin(num_cpus=0)
first, second = cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)
file = pathlib.Path(tell(cluster))
preemption, deadline = 2, int(time.time() * 1000) + 60_000
assert GcsClient(address=cluster.address).drain_node(second.node_id, preemption, "taken back", deadline)[0]
while not file.exists():
    time.sleep(0.01)
cluster.remove_node(second, allow_graceful=False)
sys.stdin.readline()
cluster.add_node(num_cpus=1)
"""


@pytest.fixture
def cluster(temporary: Path) -> Iterator[subprocess.Popen]:
    with ray_machines(CLUSTER, temporary) as machines:
        yield machines


def test_it_goes_on_with_fewer_and_then_with_more_workers(cluster, start, place, tiny_pack):
    address = cluster.stdout.readline().strip()
    many, steps = 400, 100
    program = start(
        *("train", "--data", tiny_pack, "--workers", "1:2", "--name", "it", "--address", address, "--json"),
        set_={"train.epochs": many, "train.steps": steps},
        also=LOOPBACK | {"RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.5"},
    )

    def heard(kind: str) -> list[dict]:
        events = [json.loads(line) for line in program.out]
        return [event for event in events if event["event"] == kind]

    def until(condition) -> None:
        last = time.monotonic() + PATIENCE
        while not condition():
            assert program.process.poll() is None, program.err
            assert time.monotonic() < last, program.out[-5:]
            time.sleep(0.1)

    def told(word: str) -> None:
        cluster.stdin.write(f"{word}\n")
        cluster.stdin.flush()

    def counted(workers: int) -> None:
        """Until it trains with so many, and has ended an epoch so."""
        until(lambda: [event["workers"] for event in heard("workers_counted")][-1:] == [workers])
        before = len(heard("epoch_done"))
        until(lambda: len(heard("epoch_done")) > before)

    counted(2)
    until(lambda: heard("steps_done")[-1]["step"] < steps / 5)
    told(str(place / "runs/it/under-way/where.json"))
    counted(1)
    (notice,) = [event["why"] for event in heard("doubted") if "about to go" in event["why"]]
    epoch, kept = (int(number) for number in re.findall(r"\d+", notice))
    after = [event for event in map(json.loads, program.out) if event["event"] in ("workers_counted", "steps_done")]
    begun = max(i for i, event in enumerate(after) if event["event"] == "workers_counted")
    assert (after[begun + 1]["epoch"], after[begun + 1]["step"]) == (epoch, kept + 1)
    told("come")
    counted(2)
    program.signal(signal.SIGTERM)
    assert program.end() == 143
    counts = heard("workers_counted")  # on a busy machine it may have begun with one of the two
    assert [event["workers"] for event in counts][-3:] == [2, 1, 2]
    assert {(event["batch"], event["asked"]) for event in counts} == {(8, 8)}
    epochs = [event["epoch"] for event in heard("epoch_done")]
    assert sorted(set(epochs)) == list(range(1, max(epochs) + 1))
    assert len(epochs) - len(set(epochs)) < len(counts)  # one at most for each time that all began again
    history = [row["epoch"] for row in read_history(place / "runs/it")]
    assert history == list(range(1, len(history) + 1))
    told = read_breaks(place / "runs/it")
    assert len(told.machines) == 1
    assert f"all workers began again after epoch {epoch - 1}, step {kept}" in [
        line.partition(";")[0] for line in told.lines
    ]
