"""A proxy before a server that fails as networks do: slow, cut connections, 503, bodies that end too soon."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Fault = Callable[[int, socket.socket], bool]  # (number of the connection, its client): True where it was answered


@contextmanager
def faulty(host: str, port: int, fault: Fault, cut: Callable[[int], int | None]) -> Iterator[str]:
    """The address of a proxy. fault: may answer, or close, a connection in the server's place. cut: how many bytes of
    the server's answer come through before the connection is closed, None: all."""
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def serve() -> None:
        number = 0
        while not done.is_set():
            with suppress(OSError):
                client, _ = listener.accept()
                number += 1
                threading.Thread(target=relay, args=(number, client), daemon=True).start()

    def relay(number: int, client: socket.socket) -> None:
        with client, suppress(OSError):
            if fault(number, client):
                return
            with socket.create_connection((host, port)) as upstream:
                asking = threading.Thread(target=_copy, args=(client, upstream, None), daemon=True)
                asking.start()
                _copy(upstream, client, cut(number))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        done.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def _copy(source: socket.socket, sink: socket.socket, most: int | None) -> None:
    left = most
    with suppress(OSError):
        while piece := source.recv(65536):
            if left is not None:
                piece = piece[:left]
                left -= len(piece)
            sink.sendall(piece)
            if left == 0:
                break
        sink.shutdown(socket.SHUT_WR)
