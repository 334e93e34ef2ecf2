"""A search sent to a cluster of Ray's own processes, on loopback, which asks for a token: from a folder outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.job_submission import JobSubmissionClient

import capetune
from capetune.cluster.jobs import Jobs
from capetune.errors import UserError

from .conftest import PATIENCE, SMALL
from .machines import ray_machines

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]

CLUSTER = """
cluster = begin(num_cpus=0)
for number in (1, 2):  # each with a folder of its own, or one would remove the job's code under the other
    cluster.add_node(num_cpus=1, temp_dir=f"{sys.argv[1]}{number}")
print(cluster.head_node.address_info["webui_url"], flush=True)
tell(cluster)
"""
SECRET = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def dashboard(temporary: Path) -> Iterator[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # as in an image, whose `python` has what is needed
    also = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": SECRET, "PATH": path}
    with ray_machines(CLUSTER, temporary, also) as machines:
        assert machines.stdout is not None
        yield f"http://{machines.stdout.readline().strip()}"


def test_a_search_is_sent_followed_stopped_and_sent_again_to_its_end(dashboard, start, place, tiny_pack):
    def say(*words: object) -> subprocess.CompletedProcess:
        program = [sys.executable, "-m", "capetune", *map(str, words)]
        how = {"cwd": place, "env": os.environ | own, "capture_output": True, "text": True}
        return subprocess.run(program, **how, timeout=PATIENCE)  # type: ignore[call-overload]

    own = {"RAY_API_SERVER_ADDRESS": dashboard, "HOME": str(place)}
    assert say("jobs").stderr == (
        f"error: the cluster at {dashboard} asks for a token: give --token-file, or set RAY_AUTH_TOKEN\n"
    )
    (place / "wrong").write_text("f" * 64)
    refused = say("jobs", "--token-file", "wrong")
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: the cluster at {dashboard} refuses this token; ")
    own["RAY_AUTH_TOKEN"] = SECRET
    assert say("jobs").stdout == "no jobs; `capetune submit` sends one\n"

    (place / "mine.yaml").write_text("scheduler: none\nloss.tokens: {log: [0.1, 1.0]}\n")
    keys = [f"--set={key}={value}" for key, value in (SMALL | {"train.epochs": 40}).items()]
    words = ("search", "--space", "mine.yaml", "--preset", "demo", "--trials", 2, "--data", tiny_pack, *keys)
    runs = ("--runs", place / "runs", "--name", "sent", "--resume-or-start")
    assert say("submit", "--", *words).stderr.startswith("error: the cluster can't see --runs runs, a path of")
    first = say("submit", "--id", "one", "--", *words, *runs)
    assert first.stdout.startswith("sent: job one\nnext: capetune logs one -f\n"), first.stderr
    assert "there is a job one at" in say("submit", "--id", "one", "--", *words, *runs).stderr

    follower = subprocess.Popen(
        [sys.executable, "-m", "capetune", "logs", "sent", "-f"],
        cwd=place, env=os.environ | own, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert follower.stdout is not None
    lines = []
    for line in follower.stdout:
        lines.append(line)
        if "epoch 2/40" in line:
            break
    else:
        pytest.fail("".join(lines))
    told = json.loads(say("status", "--json").stdout)
    assert (told["cluster"]["machines"], told["cluster"]["total"]["CPU"]) == (3, 2.0)
    (job,) = told["jobs"]
    assert (job["id"], job["trials_wanted"]) == ("one", 2)
    assert job["trials"]["running"] >= 1
    info = JobSubmissionClient(dashboard, headers={"Authorization": f"Bearer {SECRET}"}).list_jobs()
    shown = [(one.submission_id, one.metadata["job_name"], one.entrypoint) for one in info]
    assert shown == [("one", "capetune search sent", "python -m capetune request --sent request.json")]
    assert job["epochs"] >= 2
    assert job["worker_hours"] > 0
    assert "of 2 CPUs in use" in say("status", "--price", 3).stdout
    assert say("stop", "one").stdout == "job one: stopped\n"
    rest = follower.communicate(timeout=PATIENCE)[0]
    assert "go on with it: " in rest
    (row,) = json.loads(say("runs", "--runs", "runs", "--json").stdout)
    assert (row["name"], row["state"]) == ("sent", "interrupted")

    again = say("submit", "--follow", "--id", "two", "--", *words, *runs)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1] == "job two: succeeded"
    table = json.loads(say("jobs", "--json").stdout)
    assert [(job["id"], job["state"], job["verb"], job["name"]) for job in table] == [
        ("two", "SUCCEEDED", "search", "sent"),
        ("one", "STOPPED", "search", "sent"),
    ]
    failed = say("submit", "--wait", "--", "train", "--best", "none-such", "--runs", place / "runs")
    assert failed.returncode == 2
    assert "no job is running or waiting" in say("status").stdout


def test_a_job_that_waits_for_room_is_told_to_end_and_never_begins(dashboard, place, monkeypatch):
    client = JobSubmissionClient(dashboard, headers={"Authorization": f"Bearer {SECRET}"})
    client.submit_job(entrypoint="echo begun", submission_id="large", entrypoint_num_cpus=99)
    monkeypatch.setenv("RAY_AUTH_TOKEN", SECRET)
    program = [sys.executable, "-m", "capetune", "stop", "large", "--address", dashboard]
    done = subprocess.run(program, cwd=place, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("job large: ")
    assert "told to end; it waits for room still" in done.stdout or "stopped" in done.stdout
    assert "begun" not in client.get_job_logs("large")


def test_python_sends_too(dashboard, place, tiny_pack, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", SECRET)
    monkeypatch.chdir(place)
    with pytest.raises(UserError, match="the cluster can't see --data shards"):
        capetune.submit("evaluate", address=dashboard, data="shards", split=1, runs=place / "runs")
    asked = {"predictor": "template", "data": str(tiny_pack), "split": 1, "episodes": 1, "queries": 3}
    sent = capetune.submit("evaluate", address=dashboard, id="scored", runs=place / "runs", **asked)
    ended = Jobs(dashboard).wait(sent.id)
    assert (ended.id, ended.verb, ended.state) == ("scored", "evaluate", "SUCCEEDED")
