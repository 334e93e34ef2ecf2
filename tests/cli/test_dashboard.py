from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request

import optuna
import pytest
from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.errors import UserError
from capetune.runs.record import Run
from capetune.tuning.study import open_storage


def test_a_study_opens_in_optuna_s_dashboard_on_loopback(tmp_path):
    Run(tmp_path / "mine", "search", "completed").save("completed")
    optuna.create_study(study_name="mine", storage=open_storage(tmp_path / "mine", None))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = "from capetune.cli.main import run; run()"
    options = ["dashboard", "--optuna", "mine", "--runs", str(tmp_path), "--port", str(port)]
    server = subprocess.Popen([sys.executable, "-c", code, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies", timeout=10) as answer:
                    studies = json.load(answer)["study_summaries"]
                break
            except OSError:
                assert server.poll() is None, server.communicate()
                assert time.monotonic() < until
                time.sleep(0.2)
        assert [study["study_name"] for study in studies] == ["mine"]
    finally:
        server.kill()
        server.communicate()


def test_a_search_that_is_not_there_is_said(tmp_path):
    result = CliRunner().invoke(app, ["dashboard", "--optuna", "none", "--runs", str(tmp_path)])
    assert isinstance(result.exception, UserError)
    assert "there is no search 'none'" in str(result.exception)


def test_what_it_needs_is_said(tmp_path, monkeypatch):
    Run(tmp_path / "mine", "search", "completed").save("completed")
    monkeypatch.setattr("capetune.cli.dashboard.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'capetune\[dashboard\]'"):
        CliRunner().invoke(app, ["dashboard", "--optuna", "mine", "--runs", str(tmp_path)], catch_exceptions=False)
