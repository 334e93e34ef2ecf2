"""What is lost when something breaks: a fault is injected into a search or a training, which then goes on to its end.

lost: trials without a score in the end, of those asked for (wanted: 0). again: finished trials that were begun anew
(0). repeated: the most epochs that one trial or training told of twice (1 at most). goes on: seconds from the fault to
the next epoch; where a command is given again, starting Ray anew takes most of them.

`make faults`, or one by its name: `python benchmarks/faults.py search-worker-killed`.
"""

from __future__ import annotations

import argparse
import json
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from breakable import (
    EPOCHS,
    TRIALS,
    Command,
    Outcome,
    Place,
    all_killed,
    hit,
    in_validation,
    killed,
    once_more,
    placed,
    prepare,
    signalled,
)
from stores import Proxy, names, store

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))

from tests.integration.machines import LOOPBACK, ray_machines  # noqa: E402


def at_store(place: Place, port: int) -> Place:
    """The same, with runs and pack there."""
    other = Place(place.folder, place.environment | names(port), "s3://bucket/runs", "s3://bucket/pack")
    code = (
        "import sys; from pathlib import Path; from capetune.storage.address import open_place\n"
        "for file in Path('pack').iterdir(): open_place('s3://bucket/pack').send(file, file.name)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=place.folder, env=other.environment, check=True)
    return other


def torn_journal(place: Place) -> Outcome:
    def fault(command: Command) -> None:
        all_killed(command)
        with (place.folder / "runs/it/optuna.journal").open("ab") as stream:
            stream.write(b'{"op_code": 5, "worker_id"')

    return hit(place, "search", fault, again=True)


def lost_journal(place: Place) -> Outcome:
    def fault(command: Command) -> None:
        all_killed(command)
        (place.folder / "runs/it/optuna.journal").unlink()

    return hit(place, "search", fault, again=True)


def locked_database(place: Place) -> Outcome:
    def fault(command: Command) -> None:
        def lock() -> None:
            base = sqlite3.connect(place.folder / "study.db", timeout=30)
            base.execute("BEGIN EXCLUSIVE")
            time.sleep(20)
            base.rollback()

        threading.Thread(target=lock, daemon=True).start()

    return hit(place, "search", fault, more=("--storage", f"sqlite:///{place.folder}/study.db"))


def elsewhere(place: Place, verb: str) -> Outcome:
    """Its machine is gone for good: another one, with nothing of its disk, goes on from the store."""
    with store() as port:
        far = at_store(place, port)
        outcome = hit(far, verb, all_killed)
        far.environment["CAPETUNE_CACHE"] = str(place.folder / "another-machine")
        return once_more(far, verb, outcome)


def store_away(place: Place, verb: str) -> Outcome:
    with store() as port:
        proxy = Proxy(port)
        far = at_store(place, proxy.port)
        return hit(far, verb, lambda command: proxy.away(60))


def in_upload(place: Place) -> Outcome:
    """A worker is killed right after an epoch, while it sends it."""
    with store() as port:
        return hit(at_store(place, port), "train", killed("RayTrainWorker"))


def damaged_shard(place: Place, verb: str) -> Outcome:
    """The command ends of it, in a line; with the shard as it was, the same command goes on."""
    shard = next((place.folder / "pack").glob("*.tar"))
    whole = shard.read_bytes()
    outcome = hit(place, verb, lambda command: shard.write_bytes(b"\0" * len(whole)))
    shard.write_bytes(whole)
    return once_more(place, verb, outcome)


# Two machines of one CPU beside a head that has none; one of them goes, as told: at once, or announced as a cloud does.
MACHINES = """
import pathlib, time
from ray._raylet import GcsClient
cluster = begin(num_cpus=0)
nodes = [cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)]
file = tell(cluster)
if file:
    preemption, deadline = 2, int(time.time() * 1000) + 60_000
    assert GcsClient(address=cluster.address).drain_node(nodes[1].node_id, preemption, "taken back", deadline)[0]
    while not pathlib.Path(file).exists():
        time.sleep(0.01)
cluster.remove_node(nodes[1], allow_graceful=False)
"""


def machine_lost(place: Place, verb: str, announced: bool = False) -> Outcome:
    """Of a cluster that was joined. announced: it goes once the epoch under way was kept."""
    place.environment |= LOOPBACK | {"RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.5"}
    with ray_machines(MACHINES, place.folder / "t") as machines:
        assert machines.stdin is not None
        assert machines.stdout is not None
        stdin, address = machines.stdin, machines.stdout.readline().strip()

        def fault(command: Command) -> None:
            stdin.write(f"{place.folder / 'runs/it/under-way/where.json' if announced else ''}\n")
            stdin.flush()

        return hit(place, verb, fault, more=("--address", address, *(("--workers", "1:2") if verb == "train" else ())))


FAULTS: dict[str, Callable[[Place], Outcome]] = {
    "search-worker-killed": lambda p: hit(p, "search", killed("ray::Trial")),
    "search-driver-killed": lambda p: hit(p, "search", signalled(signal.SIGKILL), again=True),
    "search-all-killed": lambda p: hit(p, "search", all_killed, again=True),
    "search-raylet-killed": lambda p: hit(p, "search", killed("raylet/raylet"), again=True),
    "search-head-killed": lambda p: hit(p, "search", killed("gcs_server"), again=True),
    "search-sigterm": lambda p: hit(p, "search", signalled(signal.SIGTERM), again=True),
    "search-sigint": lambda p: hit(p, "search", signalled(signal.SIGINT), again=True),
    "search-journal-torn": torn_journal,
    "search-journal-lost": lost_journal,
    "search-database-locked-20s": locked_database,
    "search-machine-lost-s3": lambda p: elsewhere(p, "search"),
    "search-store-away-60s": lambda p: store_away(p, "search"),
    "search-shard-damaged": lambda p: damaged_shard(p, "search"),
    "search-machine-lost": lambda p: machine_lost(p, "search"),
    "train-worker-killed": lambda p: hit(p, "train", killed("RayTrainWorker"), more=("--workers", "2")),
    "train-worker-killed-in-validation": lambda p: hit(p, "train", in_validation, epochs=1),
    "train-queue-killed": lambda p: hit(p, "train", killed("_QueueActor")),
    "train-driver-killed": lambda p: hit(p, "train", signalled(signal.SIGKILL), again=True),
    "train-all-killed": lambda p: hit(p, "train", all_killed, again=True),
    "train-head-killed": lambda p: hit(p, "train", killed("gcs_server"), again=True),
    "train-sigterm": lambda p: hit(p, "train", signalled(signal.SIGTERM), again=True),
    "train-machine-lost-s3": lambda p: elsewhere(p, "train"),
    "train-store-away-60s": lambda p: store_away(p, "train"),
    "train-worker-killed-in-upload": in_upload,
    "train-shard-damaged": lambda p: damaged_shard(p, "train"),
    "train-machine-lost": lambda p: machine_lost(p, "train"),
    "train-machine-announced": lambda p: machine_lost(p, "train", announced=True),
}


def judged(outcome: Outcome, verb: str) -> dict[str, Any]:
    """What became of it, by its events."""
    of: dict[str, list[tuple[float, dict[str, Any]]]] = {"epoch_done": [], "trial_started": [], "trial_ended": []}
    for at, event in outcome.events:
        if event["event"] in of:
            of[event["event"]].append((at, event))
    repeated = Counter((event["trial"], event["epoch"]) for _, event in of["epoch_done"])
    most: Counter[Any] = Counter()
    for (trial, _), count in repeated.items():
        most[trial] += count - 1
    ends = {event["trial"]: at for at, event in of["trial_ended"] if not event["earlier"]}
    scored = {event["trial"] for _, event in of["trial_ended"] if event["score"] is not None}
    lost = [(at, event["trial"]) for at, event in outcome.events if event["event"] == "trial_lost"]
    since, whose = (outcome.begun, None) if outcome.begun else lost[0] if lost else (outcome.at + 0.2, None)
    told = [(at, event["trial"]) for at, event in of["epoch_done"] if at > since]
    after = [at for at, trial in told if whose is None or trial == whose]
    whole = max((event["epoch"] for _, event in of["epoch_done"]), default=0) == EPOCHS
    return {
        "lost": TRIALS - len(scored) if verb == "search" else int(not whole),
        "again": sum(at > ends.get(event["trial"], at) for at, event in of["trial_started"]),
        "repeated": max(most.values(), default=0),
        "goes_on_s": round(min(after) - outcome.at, 1) if after else None,
        "code": outcome.last[0],
        "first": None if outcome.first is None else outcome.first[0],
        "said": (outcome.first or outcome.last)[1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="FAULT", help=f"default: all of {', '.join(FAULTS)}")
    parser.add_argument("--save", action="store_true", help="add the lines to benchmarks/results/faults.jsonl")
    asked = parser.parse_args()
    unknown = set(asked.names) - set(FAULTS)
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    print(f"{'fault':36} {'lost':>4} {'again':>5} {'repeated':>8} {'goes on':>8}  exit codes  said", flush=True)
    bad = 0
    with tempfile.TemporaryDirectory(prefix="f") as root:
        made = Path(root, "made")
        prepare(made)
        for name in asked.names or FAULTS:
            with tempfile.TemporaryDirectory(prefix="f", dir=root) as folder:
                place = placed(Path(folder), made)
                row = {"fault": name, **judged(FAULTS[name](place), name.partition("-")[0])}
            bad += row["lost"] > 0 or row["again"] > 0 or row["repeated"] > 1 or row["code"] != 0
            codes = f"{row['code']}" if row["first"] is None else f"{row['first']}, {row['code']}"
            seconds = "–" if row["goes_on_s"] is None else f"{row['goes_on_s']} s"
            line = f"{name:36} {row['lost']:>4} {row['again']:>5} {row['repeated']:>8} {seconds:>8}  {codes:>10}"
            print(f"{line}  {row['said'][:150]}", flush=True)
            if asked.save:
                with (ROOT / "benchmarks/results/faults.jsonl").open("a") as stream:
                    date = time.strftime("%Y-%m-%d")
                    stream.write(json.dumps({"date": date, "trials": TRIALS, "epochs": EPOCHS, **row}) + "\n")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
