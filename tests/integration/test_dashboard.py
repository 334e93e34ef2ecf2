"""Ray's dashboard during a real search: who looks finds the run and its trials under their names."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from .conftest import PATIENCE, Program

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]  # long as they are
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def dashboard_of(program: Program) -> tuple[str, Path]:
    said = program.wait_for("dashboard http://")
    found = re.search(r"dashboard (\S+) \(token in (.+)\)", said)
    assert found
    return found[1], Path(found[2])


def asked(dashboard: str, token: str, path: str) -> Any:
    request = urllib.request.Request(dashboard + path, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=30) as got:
        return json.load(got)


def listed(dashboard: str, token: str, what: str) -> list[dict[str, Any]]:
    return asked(dashboard, token, f"/api/v0/{what}?detail=1")["data"]["result"]["result"]


def titles(program: Program) -> list[str]:
    found = [" ".join(process.cmdline()).strip() for process in program.children()]
    return [title.removeprefix("ray::") for title in found if title.startswith("ray::")]


def test_a_search_is_found_by_its_names_and_opened_with_its_token(start, place, tiny_pack, tmp_path):
    (place / "plain.yaml").write_text("scheduler: none\nloss.tokens: {log: [0.1, 1.0]}\n")
    words = ("search", "--space", "plain.yaml", "--trials", 2, "--data", tiny_pack, "--name", "night")
    program = start(*words, set_={"train.epochs": 400, "train.steps": 40})
    dashboard, file = dashboard_of(program)
    token = file.read_text().strip()
    assert program.wait_for("look inside: ") == f"look inside: capetune dashboard --ray --address {dashboard}"
    program.wait_for("trial 1: running, epoch 2/")

    (job,) = asked(dashboard, token, "/api/jobs/")
    assert (job["metadata"]["job_name"], job["entrypoint"]) == ("capetune search night",) * 2
    actors = sorted((row["class_name"], row["name"], row["repr_name"]) for row in listed(dashboard, token, "actors"))
    shown = "trials of night, one after another"
    assert actors == [("Trial", "night/process-1", shown), ("Trial", "night/process-2", shown)]
    tasks = {row["name"] for row in listed(dashboard, token, "tasks")}
    for number in (0, 1):
        assert f"Trial {number} of night: epoch 1 of 400" in tasks
        assert any(
            re.fullmatch(rf"Trial {number} of night: epoch 2 of 400, mpck4 0\.\d+ so far", name) for name in tasks
        )
    assert any(re.match(r"Trial [01] of night: epoch \d+ of 400, mpck4", title) for title in titles(program))

    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    own = os.environ | {"CAPETUNE_CACHE": str(file.parent), "BROWSER": "true %s", "HOME": str(tmp_path)}
    opening = subprocess.Popen(
        [sys.executable, "-m", "capetune", "dashboard", "--ray", "--address", dashboard],
        env=own, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert opening.stdout is not None
    link = next(
        word for word in opening.stdout.readline().split() if word.startswith("http://") and word.count("/") == 3
    )
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += [f"--user-data-dir={tmp_path / 'browser'}", "--virtual-time-budget=15000", "--dump-dom"]
    look = {"env": own, "capture_output": True, "text": True, "timeout": PATIENCE}
    page = subprocess.run([browser, *flags, link], **look).stdout
    assert opening.wait(30) == 0
    assert "capetune search night" in page  # among the recent jobs: it was let in
    page = subprocess.run([browser, *flags, f"{dashboard}/#/actors"], **look).stdout
    assert "night/process-1" in page  # and is later, without the link
    stranger = [flag for flag in flags if "user-data-dir" not in flag] + [f"--user-data-dir={tmp_path / 'other'}"]
    page = subprocess.run([browser, *stranger, f"{dashboard}/#/actors"], **look).stdout
    assert "night/process-1" not in page
    program.signal(signal.SIGINT)
    program.end()


def test_a_training_s_workers_are_the_run_s(start, place, tiny_pack):
    program = start(
        "train", "--data", tiny_pack, "--name", "deep", "--workers", 2, set_={"train.epochs": 400, "train.steps": 20}
    )
    dashboard, file = dashboard_of(program)
    token = file.read_text().strip()
    program.wait_for("epoch 2/")
    (job,) = asked(dashboard, token, "/api/jobs/")
    assert job["entrypoint"] == "capetune train deep"
    actors = listed(dashboard, token, "actors")
    workers = [row for row in actors if row["class_name"] == "RayTrainWorker"]
    assert [row["repr_name"] for row in workers] == ["worker of deep"] * 2
    assert any((row["name"] or "").startswith("deep/news-") for row in actors)
    failed = [row["name"] for row in listed(dashboard, token, "tasks") if row["state"] == "FAILED"]
    assert not failed
    (run,) = asked(dashboard, token, "/api/train/v2/runs/v1")["train_runs"]
    assert (run["name"], run["status"]) == ("deep", "RUNNING")
    program.signal(signal.SIGINT)
    program.end()
