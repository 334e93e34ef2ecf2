"""Real `capetune` processes with a real Ray, each in a home and a folder of its own."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest

from .machines import NOT_NICE

OURS = ("RAY_", "XDG_", "CAPETUNE_", "MLFLOW_", "TORCHINDUCTOR_")  # what programs are to set by themselves
PATIENCE = 240.0  # seconds for one step; twenty times what it takes on two quiet cores
SMALL = {
    "data.size": 64,
    "model.width": 32,
    "model.heads": 4,
    "model.decoder.layers": 1,
    "model.support.layers": 1,
    "model.backbone.weights": "none",
    "train.steps": 2,
    "train.epochs": 2,
    "train.batch_size": 4,
    "train.warmup": 0,
    "validation.episodes": 1,
}


class Program:
    """A running `capetune`, the leader of its own process group. Its output is read as it comes."""

    def __init__(self, arguments: list[str], folder: Path, environment: dict[str, str]) -> None:
        # Tests that run in a shell's background inherit SIGINT as ignored.
        own = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        command = [sys.executable, "-c", own + "from capetune.cli.main import program; program()", *arguments]
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.out: list[str] = []
        self.err: list[str] = []
        self.news = threading.Condition()
        pairs = ((self.process.stdout, self.out), (self.process.stderr, self.err))
        self.readers = [threading.Thread(target=self._read, args=pair, daemon=True) for pair in pairs]
        for reader in self.readers:
            reader.start()
        self.seen: set[psutil.Process] = set()
        self.killed = False

    def _read(self, stream, lines: list[str]) -> None:
        for line in stream:
            with self.news:
                lines.append(line.rstrip("\n"))
                self.news.notify_all()
        with self.news:
            self.news.notify_all()

    def wait_for(self, words: str) -> str:
        """The first line of stdout with these words."""
        until = time.monotonic() + PATIENCE
        with self.news:
            while not (found := [line for line in self.out if words in line]):
                ended = self.process.poll() is not None and not any(reader.is_alive() for reader in self.readers)
                said = f"no {words!r} in {self.out} {self.err}"
                assert not ended, said
                assert time.monotonic() < until, said
                self.news.wait(1)
        return found[0]

    def children(self) -> set[psutil.Process]:
        """Every process below it now; remembered for `end`."""
        now = set(psutil.Process(self.process.pid).children(recursive=True))
        self.seen |= now
        return now

    def signal(self, number: int, group: bool = False) -> None:
        self.children()
        self.killed |= number == signal.SIGKILL
        (os.killpg if group else os.kill)(self.process.pid, number)

    def end(self) -> int:
        """Its exit code, once it has ended and so have all processes below it that were seen."""
        code = self.process.wait(PATIENCE)
        until = time.monotonic() + 60  # where all are killed, agents of Ray notice it by and by
        while alive := [process for process in self.seen if _runs(process)]:
            assert time.monotonic() < until, f"left behind: {alive}"
            time.sleep(0.05)
        for reader in self.readers:
            reader.join(10)
        return code

    def kill(self) -> None:
        """SIGKILL to it and to every process below it at once, as when a machine goes down."""
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
        for process in self.seen:
            if process.is_running():
                process.kill()


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE  # one that init hasn't reaped yet
    except psutil.NoSuchProcess:
        return False


def typed(command: str, *arguments: object, set_: dict[str, object] | None = None) -> list[str]:
    """What is typed after `capetune`; new searches and trainings have a tiny model, `set_` changes it."""
    fresh = command in ("search", "train") and not {"--resume", "--best"} & set(arguments)
    keys = [f"--set={key}={value}" for key, value in (SMALL | (set_ or {})).items()]
    model = ["--preset", "demo", *keys] if fresh else []
    return [command, *model, *map(str, arguments)]


Start = Callable[..., Program]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that programs run in; home/ beside it is theirs too."""
    root = tmp_path_factory.mktemp("place")
    (root / "home").mkdir()
    (root / "work").mkdir()
    return root / "work"


@pytest.fixture(scope="module")
def temporary() -> Iterator[Path]:
    """A folder for what programs put into the temporary one, its path short: Ray's sockets are in there."""
    names = (Path(tempfile.gettempdir(), f"ct{number}") for number in itertools.count())
    folder = next(name for name in names if _make(name))
    yield folder
    with contextlib.suppress(OSError):  # what programs have left stays to be seen
        folder.rmdir()


def _make(folder: Path) -> bool:
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        return False
    return True


@pytest.fixture(scope="module")
def start(place: Path, temporary: Path) -> Iterator[Start]:
    """start("search", …): runs `capetune` there with the words of `typed`.

    also: further environment variables.
    """
    programs: list[Program] = []

    def starter(
        command: str,
        *arguments: object,
        set_: dict[str, object] | None = None,
        also: dict[str, str] | None = None,
    ) -> Program:
        home = place.parent / "home"
        own = {"HOME": str(home), "CAPETUNE_CACHE": str(home / "cache"), "OMP_NUM_THREADS": "1"}
        own |= {"TMPDIR": str(temporary)} | NOT_NICE
        environment = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
        environment |= own | (also or {})
        programs.append(Program(typed(command, *arguments, set_=set_), place, environment))
        return programs[-1]

    yield starter
    for program in programs:
        program.kill()
    if any(program.killed for program in programs):  # such a one has no end in which to tidy up
        shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture(scope="session")
def trials_of() -> Callable[[Path], dict[int, dict[str, Any]]]:
    """What a search's results.json says of each trial, by its number."""

    def read(folder: Path) -> dict[int, dict[str, Any]]:
        return {trial["number"]: trial for trial in json.loads((folder / "results.json").read_text())["trials"]}

    return read


@pytest.fixture(scope="session")
def study_of() -> Callable[[Path], optuna.Study]:
    """A search's study, as anybody with Optuna would open it."""

    def load(folder: Path) -> optuna.Study:
        journal = optuna.storages.journal.JournalFileBackend(str(folder / "optuna.journal"))
        return optuna.load_study(study_name=folder.name, storage=optuna.storages.JournalStorage(journal))

    return load
