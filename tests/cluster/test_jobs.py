from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import ray

from capetune.cluster.jobs import Job, Jobs, _pieces, secret_of
from capetune.errors import UserError


@pytest.fixture(autouse=True)
def _nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_a_token_comes_from_where_ray_would_take_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert secret_of(None) is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("home\n")
    assert secret_of(None) == "home"
    (tmp_path / "named").write_text("named")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "named"))
    assert secret_of(None) == "named"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
    assert secret_of(None) == "given"
    (tmp_path / "own").write_text("own")
    assert secret_of(tmp_path / "own") == "own"


def test_a_token_s_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"can't read the token in .*/nowhere: No such file"):
        secret_of(tmp_path / "nowhere")


@pytest.mark.parametrize("address", ["head:6379", "ray://head:10001", "auto"])
def test_what_is_no_dashboard_s_url_is_said(address: str) -> None:
    with pytest.raises(UserError, match="the dashboard's URL is wanted, such as http://head:8265"):
        Jobs(address)


def test_where_nobody_answers_it_says_how_to_get_there() -> None:
    with pytest.raises(UserError, match=r"no Ray dashboard answers at http://127\.0\.0\.1:9 .*ssh -L 8265"):
        Jobs("http://127.0.0.1:9")


class _Older(BaseHTTPRequestHandler):
    """What a dashboard of another Ray answers: its API tells the version first."""

    def do_GET(self) -> None:
        body = json.dumps({"version": "4", "ray_version": "2.41.0", "ray_commit": "", "session_name": ""}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_another_version_of_ray_is_refused_with_the_cure() -> None:
    server = HTTPServer(("127.0.0.1", 0), _Older)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with pytest.raises(UserError) as refused:
            Jobs(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert f"runs Ray 2.41.0, this machine has {ray.__version__}" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_of_a_name_s_jobs_the_one_that_has_not_ended_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same submit while the first runs is refused by that one's lease, and is the latest all the same."""
    jobs = Jobs.__new__(Jobs)
    runs = Job("first", "RUNNING", "search", "night", 1, 1.0, None, None, "")
    failed = Job("second", "FAILED", "search", "night", 1, 2.0, 3.0, 2, "")
    monkeypatch.setattr(jobs, "all", lambda: [failed, runs])
    assert jobs.one("night") == runs
    assert jobs.one("second") == failed
    monkeypatch.setattr(jobs, "all", lambda: [failed, replace(runs, state="STOPPED")])
    assert jobs.one("night") == failed


def test_a_stream_that_is_left_in_the_middle_is_ended_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    ended = []

    async def stream() -> AsyncIterator[str]:
        try:
            yield "a line"
            raise KeyboardInterrupt
        finally:
            ended.append(True)

    pieces = _pieces(stream())
    assert next(pieces) == "a line"
    with pytest.raises(KeyboardInterrupt):
        next(pieces)
    assert ended == [True]
    assert capsys.readouterr().err == ""
