"""What is lost when something breaks: a fault is injected into a search or a training, which then goes on to its end.

lost: trials without a score in the end, of those asked for (wanted: 0). again: finished trials that were begun anew
(0). repeated: the most epochs that one trial or training told of twice (1 at most). goes on: seconds from the fault to
the next epoch; where a command is given again, starting Ray anew takes most of them.

`make faults`, or one by its name: `python benchmarks/faults.py search-worker-killed`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
TRIALS, EPOCHS = 3, 8
SMALL = {
    **{"data.size": 64, "model.width": 32, "model.heads": 4, "model.decoder.layers": 1, "model.support.layers": 1},
    **{"model.backbone.weights": "none", "train.steps": 20, "train.epochs": EPOCHS, "train.batch_size": 4},
    **{"train.warmup": 0, "validation.episodes": 1},
}
SPACE = "scheduler: none\nloss.tokens: {log: [0.1, 1.0]}\n"
PATIENCE = 300.0


@dataclass
class Place:
    """Where commands run: a folder with a pack, and the environment they get."""

    folder: Path
    environment: dict[str, str]
    runs: str = "runs"
    data: str = "pack"
    tell: Callable[[str], None] = print

    def typed(self, verb: str, *more: str) -> list[str]:
        keys = [f"--set={key}={value}" for key, value in SMALL.items()]
        own = ["--space", "space.yaml", "--trials", str(TRIALS), "--resume-or-start"] if verb == "search" else []
        preset = ["--preset", "demo", *keys]
        return [verb, *own, *preset, "--data", self.data, "--runs", self.runs, "--name", "it", "--json", *more]


@dataclass
class Command:
    """A running capetune, whose events are heard with the time."""

    place: Place
    words: list[str]
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def __enter__(self) -> Command:
        # A shell's background has its commands ignore SIGINT.
        code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        code += "from capetune.cli.main import program; program()"
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *self.words],
            cwd=self.place.folder,
            env=self.place.environment,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        return self

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):
                self.events.append((time.monotonic(), json.loads(line)))

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    child.kill()
            self.process.kill()
        self.process.wait()
        self.reader.join(10)

    def wait(self, when: Callable[[dict[str, Any]], bool], count: int = 1) -> None:
        """Until so many events were such."""
        until = time.monotonic() + PATIENCE
        while sum(when(event) for _, event in self.events) < count:
            assert self.process.poll() is None, f"ended too soon: {self.said()}"
            assert time.monotonic() < until, f"nothing came: {self.events[-3:]}"
            time.sleep(0.02)

    def epochs(self, count: int) -> None:
        self.wait(lambda event: event["event"] == "epoch_done", count)

    def end(self) -> int:
        return self.process.wait(PATIENCE * 2)

    def said(self) -> str:
        self.errors.seek(0)
        return self.errors.read()[-300:].strip()

    def below(self, words: str) -> list[psutil.Process]:
        """Its processes whose command line has these words."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if words in " ".join(child.cmdline()):
                    found.append(child)
        return found


@dataclass
class Outcome:
    """at: when the fault was there; begun: when the command was given again. events: of all commands. last: the
    exit code and what stderr said of the last command; first: of the one that the fault hit, None where it was the
    same."""

    at: float = 0.0
    begun: float = 0.0
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    first: tuple[int, str] | None = None
    last: tuple[int, str] = (0, "")


def hit(
    place: Place, verb: str, fault: Callable[[Command], object], epochs: int = 2, again: bool = False, more=()
) -> Outcome:
    """Run, break it after so many epochs, see it to its end. again: the command ends of it, and is given once more."""
    outcome = Outcome()
    words = place.typed(verb, *more)
    with Command(place, words) as command:
        command.epochs(epochs)
        outcome.at = time.monotonic()
        fault(command)
        code = command.end()
        outcome.events += command.events
        outcome.last = (code, command.said())
    if again:
        outcome.first, outcome.begun = outcome.last, time.monotonic()
        with Command(place, words) as command:
            code = command.end()
            outcome.events += command.events
            outcome.last = (code, command.said())
    return outcome


def all_killed(command: Command) -> None:
    """As when its machine goes: nothing can tidy up."""
    family = command.below("")
    for process in [psutil.Process(command.process.pid), *family]:
        with contextlib.suppress(psutil.Error):
            process.kill()


def killed(words: str) -> Callable[[Command], None]:
    def kill(command: Command) -> None:
        found = [process for process in command.below(words) if process.cmdline()[0].endswith(words)]
        found = found or command.below(words)  # a worker's title, or a server's path
        assert found, f"no {words}"
        found[0].kill()

    return kill


def signalled(number: int) -> Callable[[Command], None]:
    return lambda command: os.kill(command.process.pid, number)


def in_validation(command: Command) -> None:
    """A worker, right after the last step of an epoch."""
    seen = len(command.events)
    command.wait(lambda event: event["event"] == "steps_done" and event["step"] == event["steps"], 3)
    assert seen
    killed("RayTrainWorker")(command)


class Proxy:
    """Before a store: lets all through, or nothing."""

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.down = False
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            client, _ = self.listener.accept()
            if self.down:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self.upstream))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                if self.down:
                    break
                sink.sendall(piece)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def away(self, seconds: float) -> Callable[[Command], None]:
        def fault(command: Command) -> None:
            self.down = True
            threading.Timer(seconds, lambda: setattr(self, "down", False)).start()

        return fault


@contextlib.contextmanager
def store() -> Iterator[int]:
    """moto's S3 in a process of its own; its port."""
    code = """
import sys, threading
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
served, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()
def app(environ, respond):
    with lock:
        return list(served(environ, respond))
server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
    quiet = subprocess.DEVNULL
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=quiet, text=True)
    assert server.stdout is not None
    port = int(server.stdout.readline())
    urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/bucket", method="PUT")).close()
    try:
        yield port
    finally:
        server.kill()
        server.wait()


def at_store(place: Place, port: int) -> Place:
    """The same, with runs and pack there."""
    names = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "k"}
    names |= {"AWS_SECRET_ACCESS_KEY": "s", "AWS_EC2_METADATA_DISABLED": "true"}
    other = Place(place.folder, place.environment | names, "s3://bucket/runs", "s3://bucket/pack")
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
        outcome.first, outcome.begun = outcome.last, time.monotonic()
        far.environment["CAPETUNE_CACHE"] = str(place.folder / "another-machine")
        with Command(far, far.typed(verb)) as command:
            code = command.end()
            outcome.events += command.events
            outcome.last = (code, command.said())
    return outcome


def store_away(place: Place, verb: str) -> Outcome:
    with store() as port:
        proxy = Proxy(port)
        far = at_store(place, proxy.port)
        return hit(far, verb, proxy.away(60))


def in_upload(place: Place) -> Outcome:
    """A worker is killed right after an epoch, while it sends it."""
    with store() as port:
        return hit(at_store(place, port), "train", killed("RayTrainWorker"))


FAULTS: dict[str, Callable[[Place], Outcome]] = {
    "search-worker-killed": lambda p: hit(p, "search", killed("ray::ImplicitFunc")),
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


def prepare(made: Path) -> None:
    """A pack of twenty synthetic categories."""
    capetune = [sys.executable, "-c", "from capetune.cli.main import program; program()"]
    raw = made / "raw"
    for words in (
        ["data", "synth", "--out", raw, "--categories", 20, "--images", 20, "--size", 96],
        [
            "data",
            "pack",
            "--annotations",
            raw / "annotations",
            "--images",
            raw / "images",
            "--out",
            made / "pack",
            "--size",
            64,
        ],
    ):
        subprocess.run([*capetune, *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def placed(folder: Path, made: Path) -> Place:
    shutil.copytree(made / "pack", folder / "pack")
    (folder / "space.yaml").write_text(SPACE)
    (folder / "t").mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "AWS_", "CAPETUNE_"))}
    own = {"CAPETUNE_CACHE": str(folder / "cache"), "TMPDIR": str(folder / "t"), "OMP_NUM_THREADS": "1"}
    return Place(folder, environment | own)


if __name__ == "__main__":
    main()
