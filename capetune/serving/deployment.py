"""The model as a deployment of Ray Serve: started, asked in batches, ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.config import HTTPOptions
from ray.serve.schema import LoggingConfig

from capetune.models.execution import usual_device
from capetune.prediction.model import Poses, load_best
from capetune.prediction.template import Template
from capetune.serving.app import build_app
from capetune.serving.wire import About
from capetune.serving.work import Prepared, predicted

NAME = "capetune"
MOST = 32  # questions in a batch
WAIT = 0.002  # seconds that a batch waits for more; while the model works, the next one fills by itself
ONGOING = 64  # questions of a replica at a time: as many bodies are in memory
QUEUED = 256  # and of those that wait for one; others are told 503
GRACE = 5.0  # seconds that questions get to be answered at the end


@serve.deployment(
    name=NAME,
    max_ongoing_requests=ONGOING,
    max_queued_requests=QUEUED,
    graceful_shutdown_timeout_s=GRACE,
    graceful_shutdown_wait_loop_s=0.1,
)
@serve.ingress()
class PoseServer:
    """A copy of the model. One thread runs it, on as many CPUs as the copy has; others decode pictures meanwhile."""

    def __init__(
        self, checkpoint: Path, about: About, templates: Mapping[str, Template], token: str, cpus: int
    ) -> None:
        _listen_on_loopback()
        self.told = token, about, templates
        self.thread = ThreadPoolExecutor(1)
        self.model = self.thread.submit(lambda: load_best(checkpoint).to(usual_device(cpus))).result()

    def __serve_build_asgi_app__(self) -> FastAPI:
        return build_app(*self.told, self.model, self.predict)

    @serve.batch(max_batch_size=MOST, batch_wait_timeout_s=WAIT)
    async def predict(self, asked: Sequence[Prepared]) -> list[Poses]:
        return await asyncio.get_running_loop().run_in_executor(self.thread, predicted, self.model, asked)


def _listen_on_loopback() -> None:
    """Each replica opens a gRPC port for other deployments, of which there are none, on every interface; Ray has no
    setting for it. A private name of Ray's is replaced in the replica's own process."""
    from ray.serve._private import replica

    bind = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, address: bind(server, address.replace("[::]", "127.0.0.1"))


@contextmanager
def deployed(
    checkpoint: Path,
    about: About,
    templates: Mapping[str, Template],
    token: str,
    host: str,
    port: int,
    replicas: int,
    cpus: int,
    gpus: int,
) -> Iterator[None]:
    """Serve on the Ray that this process is in, until the end. cpus, gpus: of each replica."""
    logging.getLogger("ray.serve").setLevel(logging.CRITICAL)
    quiet = LoggingConfig(log_level="ERROR", enable_access_log=False)
    actor: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus}
    serve.start("HeadOnly", HTTPOptions(host=host, port=port), logging_config=quiet)
    try:
        server: Any = PoseServer  # the decorator has made a deployment of it
        server = server.options(num_replicas=replicas, ray_actor_options=actor, logging_config=quiet)
        serve.run(server.bind(checkpoint, about, templates, token, cpus), name=NAME)
        yield
    finally:
        serve.shutdown()
