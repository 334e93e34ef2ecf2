"""Serve: a trained model behind HTTP, with a page, until somebody ends it."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NoReturn

from pydantic import Field

from capetune.cluster.jobs import secret_of
from capetune.datasets.mp100.findings import counted
from capetune.errors import UserError
from capetune.events import Doubted, Listener, Serving, StepBegan, ignore
from capetune.prediction.template import Template
from capetune.runs.checkpoints import read_meta
from capetune.service.chosen import UNCALIBRATED, check_geometry, checkpoint_of
from capetune.service.request import Count, Request, Where
from capetune.service.steps import housed, open_data, ray_joined
from capetune.service.templates import USUAL
from capetune.storage.scratch import named

LOOPBACK = "127.0.0.1"
SHORTEST = 16  # characters of a token


class ServeRequest(Request):
    verb: Literal["serve"] = "serve"
    checkpoint: Where | None = None
    data: str | None = None
    host: str = LOOPBACK
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    token_file: Path | None = None
    replicas: Count = 1
    cpus: Count | None = None
    verbose: bool = False


@dataclass(frozen=True)
class Server:
    """url: of the page and, below it, of /api. token: what its questions carry."""

    url: str
    token: str = field(repr=False)

    @property
    def link(self) -> str:
        """Of the page; the token stays in the browser, for what follows # isn't sent."""
        return f"{self.url}#token={self.token}"


def run(request: ServeRequest, listener: Listener = ignore) -> NoReturn:
    """Serve until KeyboardInterrupt. Raises UserError as `served` does."""
    with served(request, listener):
        while True:
            threading.Event().wait()


@contextmanager
def served(request: ServeRequest, listener: Listener = ignore) -> Iterator[Server]:
    """A server that answers, until the block ends; it starts a Ray of its own, unless this process has one.

    Raises UserError for what the caller can cure: no checkpoint, a port that is taken, a token too short.
    """
    port = _free(request.host, request.port)
    token = _token(request.token_file)
    with housed(request, listener) as (request, listener), ExitStack() as ends:
        checkpoint = checkpoint_of(request.checkpoint, request.runs_folder, listener, ends)
        meta = read_meta(checkpoint)
        check_geometry(meta, "capetune serve")
        templates = _templates(request, meta.data["pack"], listener)

        # torch and Ray take seconds to import: not before what can be refused without them.
        listener(StepBegan("imports", "torch"))
        from capetune.serving.deployment import deployed
        from capetune.serving.wire import About, Category
        from capetune.training.checkpoint import weights_hash

        known = [Category(id=id, name=t.category, keypoints=t.graph.size) for id, t in templates.items()]
        about = About(
            checkpoint=named(str(checkpoint)),
            epoch=meta.epoch,
            weights_hash=weights_hash(checkpoint),
            size=meta.config.data.size,
            calibrated=meta.calibrated,
            categories=known,
        )
        if not about.calibrated:
            listener(Doubted(UNCALIBRATED))
        if not _loopback(request.host):
            listener(
                Doubted(
                    f"{request.host} is reached from other machines, and pictures and token travel readable: put a "
                    f"proxy with TLS before it, or leave out --host and come through `ssh -L`"
                )
            )
        title = f"capetune serve {about.checkpoint}"
        cluster = ends.enter_context(ray_joined(None, request.verbose, listener, title, "", request.cpus))
        gpus = 1 if cluster.gpus else 0
        cpus = cluster.threads(request.replicas)
        if request.replicas > cluster.places(cpus):
            room = f"{cluster.cpus} CPUs and {cluster.gpus} GPUs"
            raise UserError(f"--replicas {request.replicas}: there is no room for so many on {room}; each takes one")
        listener(StepBegan("serving", about.checkpoint))
        ends.enter_context(
            deployed(checkpoint, about, templates, token, request.host, port, request.replicas, cpus, gpus)
        )
        server = Server(f"http://{_written(request.host)}:{port}/", token)
        listener(Serving(server.url, server.link))
        yield server


def _templates(request: ServeRequest, trained_on: str, listener: Listener) -> Mapping[str, Template]:
    """By category's id, of the pack; none where the pack that the model was trained on isn't at hand any more."""
    try:
        pack = open_data(request.data or trained_on, listener)
    except UserError as error:
        if request.data is not None:
            raise
        listener(Doubted(f"no category can be chosen by name, only templates given: {error}"))
        return {}
    found, unseen = {}, 0
    for id, category in pack.categories.items():
        instances = pack.by_category.get(id, [])[:USUAL]
        if any(each.visible.any() for each in instances):
            words = f"{counted(len(instances), 'instance')} of {category.name} in {pack.address}"
            found[str(id)] = Template.of_instances(category.name, category.graph, instances, words)
        else:
            unseen += 1
    if unseen:
        listener(Doubted(f"{unseen} categories of {pack.address} have no instance to make a template of"))
    return found


def _token(file: Path | None) -> str:
    token = secrets.token_urlsafe(32) if file is None else secret_of(file) or ""
    if len(token) < SHORTEST or not token.isascii() or any(sign.isspace() for sign in token):
        raise UserError(f"--token-file {file}: a token is one word of {SHORTEST} characters at least")
    return token


def _free(host: str, port: int) -> int:
    """The port, once it is sure that nobody has it; of 0 one that is free."""
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            return int(probe.getsockname()[1])
    except OSError as error:
        raise UserError(
            f"can't listen on {host}, port {port}: {error.strerror}; try another --port or --host"
        ) from None


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _written(host: str) -> str:
    """As it stands in a link."""
    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
