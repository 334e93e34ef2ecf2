"""A search or a training that is to be broken, what it tells meanwhile, and what breaks it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

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
    return once_more(place, verb, outcome, more) if again else outcome


def once_more(place: Place, verb: str, outcome: Outcome, more=()) -> Outcome:
    """The same command again, to its end."""
    outcome.first, outcome.begun = outcome.last, time.monotonic()
    with Command(place, place.typed(verb, *more)) as command:
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
