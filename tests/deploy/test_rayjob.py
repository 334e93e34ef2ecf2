"""deploy/kuberay/rayjob.yaml: its pods are started, and its entrypoint is sent, as KubeRay does it, on three machines;
the bucket is moto's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from . import nodes
from .conftest import SPACE, with_epochs
from .kubelet import start_pod, submission
from .nodes import BIN, SHARED, Node
from .test_kuberay import JOB, one

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not nodes.can_be_had(), reason="needs root, unshare, nsenter and ip: machines by namespaces"),
]
PATIENCE = 300.0
ID = "capetune-decoder-x7k2p"
SECRET = "0123456789abcdef" * 4
S3 = {"AWS_ENDPOINT_URL": "http://laptop:5000", "AWS_ACCESS_KEY_ID": "capetune", "AWS_SECRET_ACCESS_KEY": "secret"}
SPEC = one(JOB, "RayJob")["spec"]
FILES = {
    "/etc/capetune/space.yaml": yaml.safe_dump(SPACE | {"budget": {"trials": 2}}),
    "/etc/capetune/config.yaml": with_epochs(20),
}


@pytest.fixture(scope="module")
def machines(shared: Path, tiny_root: Path) -> Iterator[list[Node]]:
    """The user's, who keeps the bucket, too, and two times a head and two workers."""
    shutil.copytree(tiny_root, shared / "tiny")
    (shared / "token").write_text(SECRET)
    names = [f"{role}-{time}" for time in (1, 2) for role in ("head", "one", "two")]
    with nodes.nodes(["laptop", *names], shared) as found:
        found[0].start(BIN / "moto_server", "-H", "0.0.0.0", "-p", "5000")
        make = "import urllib.request as u; u.urlopen(u.Request('http://laptop:5000/my-bucket', method='PUT'))"
        until = time.monotonic() + 60
        while (made := found[0].run(sys.executable, "-c", make)).returncode:
            assert time.monotonic() < until, made.stderr
        yield found


def capetune(laptop: Node, *words: object, **env: str) -> subprocess.CompletedProcess:
    return laptop.run("capetune", *words, env=S3 | {"AWS_REGION": "eu-central-1"} | env)


def cluster(laptop: Node, machines: list[Node]) -> dict[str, str]:
    """One of KubeRay's, ready. Gives what `capetune status` needs to see it."""
    head, *workers = machines
    given = S3 | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": SECRET, "HOME": "/tmp/home"}
    given |= {"OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
    spec = SPEC["rayClusterSpec"]
    start_pod(head, spec["headGroupSpec"], None, given, FILES)
    for worker in workers:
        start_pod(worker, spec["workerGroupSpecs"][0], head.name, given, {})
    seen = {"RAY_API_SERVER_ADDRESS": f"http://{head.name}:8265", "RAY_AUTH_TOKEN_PATH": str(SHARED / "token")}
    until = time.monotonic() + PATIENCE
    while True:
        told = capetune(laptop, "status", "--json", **seen)
        if told.returncode == 0 and json.loads(told.stdout)["cluster"]["machines"] == 3:
            return seen
        assert time.monotonic() < until, told.stderr
        time.sleep(1)


def submit(laptop: Node, seen: dict[str, str]) -> None:
    env = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": SECRET}
    laptop.start(*submission(SPEC, seen["RAY_API_SERVER_ADDRESS"], ID), env=env)


def job(laptop: Node, seen: dict[str, str], command: str = "status") -> Any:
    """What `capetune status`, or `jobs`, tells of the cluster's only job."""
    told = json.loads(capetune(laptop, command, "--json", **seen).stdout)
    jobs = told["jobs"] if command == "status" else told
    return jobs[0] if jobs else {"epochs": 0, "state": ""}


def wait_until(true: Callable[[], bool], laptop: Node, seen: dict[str, str]) -> None:
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until, capetune(laptop, "logs", ID, **seen).stdout
        time.sleep(0.5)


def test_a_job_whose_cluster_is_lost_goes_on_in_the_next_one(machines: list[Node]) -> None:
    laptop, first, second = machines[0], machines[1:4], machines[4:]
    packed = capetune(
        laptop, "data", "pack", "--annotations", "tiny/annotations", "--images", "tiny/images",
        "--out", "s3://my-bucket/mp100", "--shards", 8, "--size", 128,
    )  # fmt: skip
    assert packed.returncode == 0, packed.stderr
    seen = cluster(laptop, first)
    submit(laptop, seen)
    wait_until(lambda: job(laptop, seen)["epochs"] >= 4, laptop, seen)
    found = job(laptop, seen)
    assert (found["verb"], found["name"], found["trials_wanted"]) == ("search", "decoder", 2)
    for node in first:
        node.end()
    seen = cluster(laptop, second)  # as backoffLimit has KubeRay do
    submit(laptop, seen)
    wait_until(lambda: job(laptop, seen, "jobs")["state"] in ("SUCCEEDED", "FAILED"), laptop, seen)
    said = capetune(laptop, "logs", ID, **seen).stdout
    assert job(laptop, seen, "jobs")["state"] == "SUCCEEDED", said
    assert "on head-1, since" in said  # whose lease has to be silent first
    shown = capetune(laptop, "runs", "--runs", "s3://my-bucket/runs", "--json")
    (run,) = json.loads(shown.stdout)
    assert (run["name"], run["state"]) == ("decoder", "completed")
    history = read(laptop, "runs/decoder/trials/trial-000/history.jsonl").splitlines()
    assert [json.loads(line)["epoch"] for line in history] == list(range(1, 21))  # none twice, none left out


def read(laptop: Node, key: str) -> str:
    code = (
        f"import boto3; print(boto3.client('s3').get_object(Bucket='my-bucket', Key='{key}')['Body'].read().decode())"
    )
    done = laptop.run(sys.executable, "-c", code, env=S3 | {"AWS_REGION": "eu-central-1"})
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip()
