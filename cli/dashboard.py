"""`capetune dashboard`: a search in optuna-dashboard, or Ray's own dashboard."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import typer

from capetune.cli import common
from capetune.errors import UserError


def command(
    optuna: str | None = typer.Option(None, "--optuna", metavar="NAME", help="The search to open in optuna-dashboard."),
    ray: bool = typer.Option(False, "--ray", help="Open Ray's dashboard, the browser given its token."),
    port: int = typer.Option(8080, "--port", min=1, max=65535, help="With --optuna: on loopback."),
    runs: str = common.Runs,
    address: str | None = common.Dashboard,
    token_file: Path | None = common.TokenFile,
) -> None:
    """Open a search's study in optuna-dashboard, while it runs or after, or the dashboard of a running Ray.

    --optuna needs pip install 'capetune[dashboard]'. --ray finds the token where `submit` does, and that of a Ray which
    capetune has started here; through a tunnel it works too.

    Examples:

      capetune dashboard --optuna decoder-20261123-081500

      capetune dashboard --ray

      capetune dashboard --ray --address http://127.0.0.1:8266 --token-file ~/cluster-token
    """
    if ray == (optuna is not None):
        raise UserError("which dashboard? give --ray, or --optuna NAME")
    if ray:
        from capetune.cluster.handover import open_dashboard

        open_dashboard(address, token_file, common.say)
    else:
        _open_study(str(optuna), port, runs)


def _open_study(optuna: str, port: int, runs: str) -> None:
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
