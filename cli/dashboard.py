"""`capetune dashboard`: a search in optuna-dashboard."""

from __future__ import annotations

from importlib.util import find_spec
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import typer

from capetune.cli import common
from capetune.errors import UserError


def command(
    optuna: str = typer.Option(..., "--optuna", metavar="NAME", help="The search to open."),
    port: int = typer.Option(8080, "--port", min=1, max=65535, help="On loopback."),
    runs: str = common.Runs,
) -> None:
    """Open a search's study in optuna-dashboard, while it runs or after. Needs pip install 'capetune[dashboard]'.

    Ray's own dashboard needs no command: its address is printed when a search starts.

    Example:

      capetune dashboard --optuna decoder-20261123-081500
    """
    from capetune.runs.home import at_home
    from capetune.runs.registry import find_run

    with at_home(runs) as home:
        run = find_run(home, optuna, "search")
        if find_spec("optuna_dashboard") is None:
            raise UserError("the dashboard needs optuna-dashboard: pip install 'capetune[dashboard]'")
        from optuna_dashboard import wsgi

        from capetune.tuning.rebuild import readable_storage

        app = wsgi(readable_storage(run))
        try:
            server = make_server("127.0.0.1", port, app, _Server, _Quiet)
        except OSError as error:
            raise UserError(f"port {port}: {error.strerror}; choose another with --port") from None
        with server:
            print(f"optuna-dashboard of {run.name}: http://127.0.0.1:{port}/ (Ctrl-C ends it)", flush=True)
            server.serve_forever()


class _Server(ThreadingMixIn, WSGIServer):
    """Answers in threads: wsgiref takes Ctrl-C for an error of the answer that is being given, and goes on."""

    daemon_threads = True

    def handle_error(self, *what: object) -> None:
        """A browser that is gone, or our own end, in the middle of an answer."""


class _Quiet(WSGIRequestHandler):
    def log_request(self, *what: object) -> None:
        """Not a line for each picture of the page."""
