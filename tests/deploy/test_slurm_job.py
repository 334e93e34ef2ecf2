"""deploy/slurm/capetune.sh as it is, sent by sbatch to a Slurm of three machines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import nodes, slurm
from .conftest import with_epochs
from .nodes import BIN, ROOT, SHARED, Node

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not nodes.can_be_had(), reason="needs root, unshare, nsenter and ip: machines by namespaces"),
    pytest.mark.skipif(not slurm.can_be_had(), reason="needs Debian's slurmctld, slurmd and munge"),
]
PATIENCE = 300.0
SEARCH = ["search", "--space", "space.yaml", "--data", SHARED / "pack", "--runs", SHARED / "runs"]
SEARCH += ["--preset", "demo", "--trials", "2", "--resume-or-start"]


@pytest.fixture(scope="module")
def login(shared: Path) -> Iterator[Node]:
    """The machine that jobs are sent from; it works, too."""
    with nodes.nodes(["n1", "n2", "n3"], shared) as machines, slurm.slurm(machines, cpus=1):
        yield machines[0]


def send(login: Node, *words: object) -> int:
    """The job's number. No machine here has a GPU."""
    env = {"CAPETUNE_VENV": sys.prefix, "HOME": str(SHARED), "OMP_NUM_THREADS": "1", "CAPETUNE_CACHE": "/tmp/cache"}
    env |= {"RAY_worker_niceness": "0"}
    script = ROOT / "deploy/slurm/capetune.sh"
    sent = login.run("sbatch", "--parsable", "--nodes=3", "--gpus-per-node=0", script, *words, env=env)
    assert sent.returncode == 0, sent.stderr
    return int(sent.stdout)


def told(login: Node, job: int) -> dict[str, str]:
    """What Slurm says of it."""
    words = login.run("scontrol", "show", "job", "--oneliner", job).stdout.split()
    return dict(word.split("=", 1) for word in words if "=" in word)


def wait(login: Node, job: int, *states: str) -> dict[str, str]:
    until = time.monotonic() + PATIENCE
    while (found := told(login, job))["JobState"] not in states:
        assert time.monotonic() < until, (found, log(login, job))
        time.sleep(0.5)
    return found


def log(login: Node, job: int, kind: str = "log") -> str:
    file = login.shared / f"capetune-{job}.{kind}"
    return file.read_text() if file.exists() else ""


def wait_for(login: Node, job: int, words: str) -> None:
    until = time.monotonic() + PATIENCE
    while words not in log(login, job):
        assert time.monotonic() < until, log(login, job) + log(login, job, "ray.log")[:5000]
        assert told(login, job)["JobState"] in ("PENDING", "RUNNING"), log(login, job)
        time.sleep(0.2)


def test_a_search_runs_on_all_nodes_to_its_end(login: Node) -> None:
    (login.shared / "config.yaml").write_text(with_epochs(2))
    job = send(login, *SEARCH, "--name", "whole", "--config", "config.yaml")
    wait_for(login, job, "trial 0 (default): started")
    token = f".capetune-{job}/token"
    assert (login.shared / token).stat().st_mode & 0o077 == 0
    bare = login.run(BIN / "capetune", "status")
    assert "asks for a token" in bare.stderr
    status = login.run(BIN / "capetune", "status", "--json", "--token-file", token)
    assert status.returncode == 0, status.stderr
    assert json.loads(status.stdout)["cluster"]["machines"] == 3
    assert wait(login, job, "COMPLETED", "FAILED")["ExitCode"] == "0:0"
    assert "storage: /mnt/shared/runs/whole can be written, and the pack be read, from 3 machines" in log(login, job)
    results = json.loads((login.shared / "runs/whole/results.json").read_text())
    assert [trial["status"] for trial in results["trials"]] == ["completed"] * 2
    assert not (login.shared / f".capetune-{job}").exists()
    assert "ray" not in login.run("ls", "/tmp").stdout


def test_a_search_whose_time_is_up_is_queued_again_and_goes_on(login: Node) -> None:
    (login.shared / "config.yaml").write_text(with_epochs(30))
    job = send(login, *SEARCH, "--name", "long", "--config", "config.yaml")
    wait_for(login, job, "running, epoch 2/30")
    login.run("scancel", "--batch", "--signal=USR1", job)  # as --signal has Slurm do
    wait(login, job, "PENDING")
    assert "go on with it: " in log(login, job)
    login.run("scontrol", "update", f"JobId={job}", "StartTime=now")  # Slurm itself waits two minutes
    assert wait(login, job, "COMPLETED", "FAILED")["Restarts"] == "1"
    assert log(login, job).count("starting Ray") == 2
    results = json.loads((login.shared / "runs/long/results.json").read_text())
    assert [(trial["status"], trial["epochs"]) for trial in results["trials"]] == [("completed", 30)] * 2
    history = (login.shared / "runs/long/trials/trial-000/history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in history] == list(range(1, 31))  # none twice, none left out


def test_a_cancelled_search_stays_so_and_leaves_no_ray(login: Node) -> None:
    (login.shared / "config.yaml").write_text(with_epochs(300))
    job = send(login, *SEARCH, "--name", "gone", "--config", "config.yaml")
    wait_for(login, job, "running, epoch 2/300")
    login.run("scancel", job)
    assert wait(login, job, "CANCELLED", "COMPLETED", "FAILED")["Restarts"] == "0"
    until = time.monotonic() + 60
    while login.run("pgrep", "--full", "raylet").returncode == 0:
        assert time.monotonic() < until
        time.sleep(0.5)
    assert not (login.shared / f".capetune-{job}").exists()
    shown = login.run(BIN / "capetune", "runs", "--runs", SHARED / "runs", "--json").stdout
    assert {run["name"]: run["state"] for run in json.loads(shown)}["gone"] == "interrupted"


def test_what_is_wrong_ends_the_job_with_the_command_s_code(login: Node) -> None:
    job = send(login, *SEARCH, "--name", "wrong", "--config", "none-such.yaml")
    found = wait(login, job, "COMPLETED", "FAILED")
    assert (found["JobState"], found["ExitCode"]) == ("FAILED", "2:0")
    assert "none-such.yaml" in log(login, job)


def test_a_ray_that_can_t_start_is_no_success(login: Node) -> None:
    taken = "import socket, time; s = socket.create_server(('', 6379)); time.sleep(600)"
    other = login.start(sys.executable, "-c", taken)
    try:
        job = send(login, *SEARCH, "--name", "never")
        found = wait(login, job, "COMPLETED", "FAILED")
    finally:
        other.kill()
    assert (found["JobState"], found["ExitCode"]) == ("FAILED", "1:0")
    assert f"Ray didn't start, or was ended: see {SHARED}/capetune-{job}.ray.log" in log(login, job)
