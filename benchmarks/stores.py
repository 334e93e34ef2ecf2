"""An object store and a web server on loopback, and a proxy before either: processes of their own."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def names(port: int) -> dict[str, str]:
    """Environment variables by which programs find `store`."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def store() -> Iterator[int]:
    """moto's S3 in a process of its own, with a bucket `bucket`; its port."""
    code = """
import sys, threading
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
served, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()
def app(environ, respond):
    with lock:
        return list(served(environ, respond))
server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
    quiet = subprocess.DEVNULL
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=quiet, text=True)
    assert server.stdout is not None
    port = int(server.stdout.readline())
    urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/bucket", method="PUT")).close()
    try:
        yield port
    finally:
        server.kill()
        server.wait()


@contextmanager
def server(module: str, *arguments: str) -> Iterator[str]:
    """A Python module that serves on loopback; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", module, *(word.format(port=port) for word in arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert time.monotonic() < until
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


class Proxy:
    """Before a store: lets all through, or nothing."""

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.down = False
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            client, _ = self.listener.accept()
            if self.down:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self.upstream))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                if self.down:
                    break
                sink.sendall(piece)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def away(self, seconds: float) -> None:
        """Nothing comes through for so long, from now on."""
        self.down = True
        threading.Timer(seconds, lambda: setattr(self, "down", False)).start()
