from __future__ import annotations

import http.client
import json
import os
import threading
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from capetune.cluster.handover import COOKIE, Handover, open_dashboard
from capetune.errors import UserError


def fetch(link: str) -> tuple[int, dict[str, str]]:
    parts = urlsplit(link)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    connection.request("GET", parts.path)
    got = connection.getresponse()
    got.read()
    connection.close()
    return got.status, dict(got.getheaders())


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """What a browser was opened for, by what it was given to read."""
    addresses: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: bool(addresses.append(address)))
    return addresses


@pytest.fixture
def dashboard():
    """Answers as Ray 2.60's does: `served.mode`, and the version to who has the token."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Authorization")
            free = self.path == "/api/authentication_mode"
            self.send_response(200 if free or asked == "Bearer right" else 403 if asked else 401)
            self.end_headers()
            self.wfile.write(json.dumps({"authentication_mode": served.mode} if free else {}).encode())

        def log_message(self, *what: object) -> None:
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    served.mode = "token"
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    return tmp_path


def test_the_first_who_knows_the_address_is_given_the_cookie_and_nobody_else() -> None:
    with Handover("http://127.0.0.1:8265", "secret") as handover:
        assert fetch(f"{handover.link}x")[0] == 404
        assert not handover.done.is_set()
        status, headers = fetch(handover.link)
        assert (status, headers["Location"]) == (302, "http://127.0.0.1:8265")
        assert headers["Set-Cookie"] == f"{COOKIE}=secret; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000"
        assert handover.done.is_set()
        assert fetch(handover.link)[0] == 404


def test_rays_cookie_is_called_so() -> None:
    from ray._private.authentication import authentication_constants

    assert authentication_constants.AUTHENTICATION_TOKEN_COOKIE_NAME == COOKIE


def test_the_address_is_no_argument_of_the_browser_but_in_a_file_of_ours(monkeypatch) -> None:
    seen = {}

    def browse(address: str) -> bool:
        place = urlsplit(address).path
        seen[address] = (os.stat(os.path.dirname(place)).st_mode & 0o777, Path(place).read_text())
        return bool(fetch(seen[address][1].split("url=")[1].split('"')[0]))

    monkeypatch.setattr(webbrowser, "open", browse)
    with Handover("http://localhost:8265", "secret") as handover:
        handover.show()
        assert handover.done.is_set()
        ((address, (mode, page)),) = seen.items()
        assert address.startswith("file://")
        assert mode == 0o700
        assert handover.link in page
        assert handover.link.startswith("http://localhost:")  # a cookie is for a host


def test_the_token_of_our_own_ray_is_found_where_no_other_fits(dashboard, home, opened, monkeypatch) -> None:
    url = f"http://127.0.0.1:{dashboard.server_port}"
    with pytest.raises(UserError, match="asks for a token: give --token-file"):
        open_dashboard(url, None, print)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
    with pytest.raises(UserError, match="refuses this token"):
        open_dashboard(url, None, print)
    (home / "cache/ray-token").write_text("right\n")
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        link = next(word for word in line.split() if word.startswith("http://") and word.count("/") == 3)
        assert f"{COOKIE}=right;" in fetch(link)[1]["Set-Cookie"]

    open_dashboard(url, None, say)
    assert len(said) == 1
    with pytest.raises(UserError, match="can't read the token in"):
        open_dashboard(url, home / "nowhere", print)


def test_of_another_host_it_says_what_to_paste(dashboard, home, opened, monkeypatch) -> None:
    (home / "mine").write_text("right")
    monkeypatch.setattr("capetune.cluster.handover.HERE", ())
    said: list[str] = []
    url = f"http://127.0.0.1:{dashboard.server_port}"
    open_dashboard(url, home / "mine", said.append)
    assert said[0] == f"Ray's dashboard: {url}; it asks for the token, once: paste what is in {home / 'mine'}"
    assert opened == [url]


def test_a_cluster_without_a_token_is_opened_as_it_is(dashboard, opened) -> None:
    dashboard.mode = "disabled"
    url = f"http://127.0.0.1:{dashboard.server_port}"
    open_dashboard(url, None, print)
    assert opened == [url]


def test_where_no_dashboard_answers_the_cure_is_said() -> None:
    with pytest.raises(UserError, match=r"no Ray dashboard answers at http://127\.0\.0\.1:9 .*give --address"):
        open_dashboard("http://127.0.0.1:9", None, print)
