from __future__ import annotations

import inspect
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from ray.tune import TuneError

from capetune.tuning import patience as module
from capetune.tuning.patience import PatientStorage, away


def test_a_database_that_is_locked_for_a_while_is_waited_for(tmp_path: Path) -> None:
    """As by a backup. sqlite's own driver gives up after 5 s."""
    file = tmp_path / "study.db"
    study = optuna.create_study(storage=PatientStorage(f"sqlite:///{file}"), study_name="mine")
    study.enqueue_trial({"x": 1})
    begun, locked = time.monotonic(), threading.Event()

    def lock() -> None:
        with sqlite3.connect(file, isolation_level=None) as other:
            other.execute("BEGIN EXCLUSIVE")
            locked.set()
            time.sleep(7)
            other.execute("ROLLBACK")

    thread = threading.Thread(target=lock)
    thread.start()
    locked.wait()
    trial = study.ask()
    assert time.monotonic() - begun > 6
    study.tell(trial, 0.5)
    thread.join()
    assert [(trial.state, trial.value) for trial in study.trials] == [(TrialState.COMPLETE, 0.5)]


def test_one_that_stays_away_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = PatientStorage(f"sqlite:///{tmp_path / 'study.db'}")
    study = optuna.create_study(storage=storage, study_name="mine")
    monkeypatch.setattr(module, "PATIENCE", 1.0)
    for file in tmp_path.iterdir():
        file.unlink()
    (tmp_path / "study.db").mkdir()  # what can't be opened
    storage.engine.dispose()
    with pytest.raises(StorageInternalError) as error:
        study.ask()
    assert away(error.value)


def test_optuna_s_cache_asks_by_no_other_private_ways() -> None:
    source = inspect.getsource(sys.modules["optuna.storages._cached_storage"])
    assert set(re.findall(r"_backend\.(_\w+)", source)) == set(module.CACHE_S)


def test_what_tune_tells_of_a_database_is_told_from_other_errors() -> None:
    assert away(TuneError("…\nsqlalchemy.exc.OperationalError: (sqlite3.OperationalError) database is locked"))
    assert not away(TuneError("Traceback …\nValueError: database"))
    assert not away(ValueError("sqlalchemy.exc.OperationalError"))


def test_a_question_that_is_wrong_is_not_asked_again(tmp_path: Path) -> None:
    storage, begun = PatientStorage(f"sqlite:///{tmp_path / 'study.db'}"), time.monotonic()
    with pytest.raises(KeyError):
        storage.get_trial(17)
    assert time.monotonic() - begun < 5


Server = Callable[[str], None]


@pytest.fixture
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Server]]:
    """A PostgreSQL of its own on loopback: its URL, and pg_ctl. Skips where Debian's package isn't installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    pytest.importorskip("psycopg")
    if not found:
        pytest.skip("needs Debian's package postgresql")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path("/tmp") / f"pg{port}"
    folder.mkdir(0o700)
    root = os.getuid() == 0  # PostgreSQL refuses to run as root
    if root:
        shutil.chown(folder, "postgres", "postgres")
    user = ["runuser", "-u", "postgres", "--"] if root else []

    def run(*words: str) -> None:
        subprocess.run([*user, *words], check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=120)

    def control(what: str) -> None:
        options = f"-p {port} -h 127.0.0.1 -k {folder}"
        run(
            f"{found[-1]}/pg_ctl",
            "-D",
            f"{folder}/data",
            "-o",
            options,
            "-l",
            f"{folder}/log",
            "-w",
            "-m",
            "fast",
            what,
        )

    try:
        run(f"{found[-1]}/initdb", "-D", f"{folder}/data", "-U", "capetune", "--auth", "trust", "--no-sync")
        control("start")
        yield f"postgresql+psycopg://capetune@127.0.0.1:{port}/postgres", control
        control("stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.long
def test_a_database_that_is_started_anew_in_the_middle_is_waited_for(postgresql: tuple[str, Server]) -> None:
    url, control = postgresql
    study = optuna.create_study(storage=PatientStorage(url), study_name="mine")
    stopped = threading.Event()

    def restart() -> None:
        control("stop")
        stopped.set()
        time.sleep(3)
        control("start")

    for number in range(6):
        trial = study.ask()
        if number == 3:
            thread = threading.Thread(target=restart)
            thread.start()
            stopped.wait(60)
        trial.suggest_float("x", 0, 1)
        trial.report(0.1, 1)
        study.tell(trial, float(number))
    thread.join()
    assert [(trial.state, trial.value) for trial in study.trials] == [(TrialState.COMPLETE, float(n)) for n in range(6)]
