"""Ray's dashboard opened in a browser that is given the cluster's token.

Ray 2.60 takes the token from a header, from a box on its page, or from the cookie that it sets after that; not from the
address. A browser keeps a cookie for a host, whatever the port: a page of ours on the same host sets it, once, for who
knows a secret address, and sends the browser on.
"""

from __future__ import annotations

import html
import os
import secrets
import tempfile
import threading
import webbrowser
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from capetune.cluster.environment import token_file
from capetune.cluster.jobs import answer, dashboard_url, secret_of
from capetune.errors import UserError

COOKIE = "ray-authentication-token"  # ray._private.authentication.authentication_constants
DAYS = 30
HERE = ("127.0.0.1", "localhost")


def open_dashboard(address: str | None, token: Path | None, say: Callable[[str], None]) -> None:
    """Open it, where there is a browser, and say its address; ends when a browser has been given the token.

    address, token: as `Jobs` takes them; without a token's file that of this machine's own Ray is tried too. Raises
    UserError where no dashboard answers or no token fits.
    """
    url = dashboard_url(address)
    secret = _fitting(url, token)
    if secret is None:
        say(f"Ray's dashboard: {url}")
        webbrowser.open(url)
        return
    if urlsplit(url).hostname not in HERE:
        say(f"Ray's dashboard: {url}; it asks for the token, once: paste {_where(token)}")
        say("through a tunnel it is given by this command: ssh -L 8265:127.0.0.1:8265 HEAD")
        webbrowser.open(url)
        return
    with Handover(url, secret) as handover:
        say(f"Ray's dashboard of {url}, with its token, once: {handover.link} (Ctrl-C ends it)")
        handover.show()
        handover.done.wait()


def _where(token: Path | None) -> str:
    if token is None and os.environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN"
    return f"what is in {token or os.environ.get('RAY_AUTH_TOKEN_PATH') or Path.home() / '.ray/auth_token'}"


def _fitting(url: str, token: Path | None) -> str | None:
    """The first of the tokens at hand that the dashboard takes; None where it asks for none."""
    mode = answer(url, "/api/authentication_mode", {})
    if not isinstance(mode, dict) or "authentication_mode" not in mode:
        raise UserError(f"what answers at {url} is no Ray dashboard")
    if mode["authentication_mode"] == "disabled":
        return None
    own = token_file()
    known = [secret_of(token)]
    if token is None and own.is_file():
        known.append(secret_of(own))
    refused: UserError | None = None
    for secret in known:
        try:
            answer(url, "/api/version", {"Authorization": f"Bearer {secret}"} if secret else {})
            return secret
        except UserError as error:
            refused = error
    assert refused is not None
    raise refused


class Handover:
    """A server on loopback that gives one browser the token. done: is set once it has. A context manager."""

    def __init__(self, url: str, token: str) -> None:
        path, given, self.done = f"/{secrets.token_urlsafe(24)}", threading.Lock(), threading.Event()

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not secrets.compare_digest(self.path.encode(), path.encode()) or not given.acquire(blocking=False):
                    self.send_error(404)
                    return
                self.send_response(302)
                self.send_header("Location", url)
                kept = f"Path=/; HttpOnly; SameSite=Strict; Max-Age={DAYS * 86400}"
                self.send_header("Set-Cookie", f"{COOKIE}={token}; {kept}")
                self.send_header("Referrer-Policy", "no-referrer")
                self.end_headers()
                done.set()

            def log_message(self, *what: object) -> None:
                """Not a line for each request."""

        done = self.done
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.link = f"http://{urlsplit(url).hostname}:{self.server.server_port}{path}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def show(self) -> None:
        """In a browser, by a file that only we can read: its command line is anybody's on this machine."""
        with tempfile.TemporaryDirectory(prefix="capetune-") as folder:
            page = Path(folder) / "dashboard.html"
            page.write_text(f'<meta http-equiv="refresh" content="0;url={html.escape(self.link)}">')
            if webbrowser.open(page.as_uri()):
                self.done.wait(60)

    def __enter__(self) -> Handover:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
