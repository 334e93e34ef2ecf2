from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import optuna
import pytest
from typer.testing import CliRunner

from capetune.cli.main import app
from capetune.errors import UserError
from capetune.runs.record import Run
from capetune.tuning.storage import open_storage


def test_a_study_opens_in_optuna_s_dashboard_on_loopback_until_it_is_told_to_end(tmp_path):
    Run(tmp_path / "mine", "search", "completed").save("completed")
    optuna.create_study(study_name="mine", storage=open_storage(tmp_path / "mine", None))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = "from capetune.cli.main import program; program()"
    options = ["dashboard", "--optuna", "mine", "--runs", str(tmp_path), "--port", str(port)]
    command = [sys.executable, "-c", code, *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    address = f"http://127.0.0.1:{port}/api/studies"
    try:
        until = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(address, timeout=10) as answer:
                    studies = json.load(answer)["study_summaries"]
                break
            except OSError:
                assert server.poll() is None, server.communicate()
                assert time.monotonic() < until
                time.sleep(0.2)
        assert [study["study_name"] for study in studies] == ["mine"]
        asking = threading.Thread(target=_ask_on, args=(address, server))
        asking.start()
        time.sleep(0.3)
        server.terminate()
        assert server.wait(60) == 143
        asking.join()
        assert server.communicate()[1] == "error: interrupted\n"
    finally:
        server.kill()
        server.communicate()


def _ask_on(address: str, server: subprocess.Popen) -> None:
    """One question after the other, so that it ends in the middle of an answer."""
    while server.poll() is None:
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            urllib.request.urlopen(address, timeout=10) as answer,
        ):
            answer.read()


def test_a_port_that_is_taken_is_said(tmp_path):
    Run(tmp_path / "mine", "search", "completed").save("completed")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = ["dashboard", "--optuna", "mine", "--runs", str(tmp_path), "--port", str(taken.getsockname()[1])]
        result = CliRunner().invoke(app, options)
    assert isinstance(result.exception, UserError)
    assert "choose another with --port" in str(result.exception)


def test_a_search_that_is_not_there_is_said(tmp_path):
    result = CliRunner().invoke(app, ["dashboard", "--optuna", "none", "--runs", str(tmp_path)])
    assert isinstance(result.exception, UserError)
    assert "there is no search 'none'" in str(result.exception)


def test_what_it_needs_is_said(tmp_path, monkeypatch):
    Run(tmp_path / "mine", "search", "completed").save("completed")
    monkeypatch.setattr("capetune.cli.dashboard.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'capetune\[dashboard\]'"):
        CliRunner().invoke(app, ["dashboard", "--optuna", "mine", "--runs", str(tmp_path)], catch_exceptions=False)
