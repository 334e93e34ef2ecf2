"""Start Ray safely and quietly, or join a running cluster (shared facts: Ray listens on the machine's own address,
without a password, unless it is told otherwise)."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from capetune.cluster.environment import prepare_environment, started, token_file
from capetune.cluster.folder import Kept, rays, scratch_as_default, session_folder
from capetune.cluster.machines import Cluster
from capetune.cluster.names import driver_named
from capetune.cluster.processes import PATIENCE, end_ray, group_apart, own_signals, unheard, unread
from capetune.cluster.processors import usable_cpus
from capetune.errors import UserError

DASHBOARD_PORT = 8265
ELSEWHERE = "run capetune on a machine of the cluster, with --address auto, or send it there with `capetune submit`"
_held: list[Cluster] = []  # the session that this process is in: within it, another is the same one


@contextmanager
def ray_cluster(
    address: str | None = None, verbose: bool = False, cpus: int | None = None, title: str | None = None
) -> Iterator[Cluster]:
    """A Ray session, ended on leaving, however that comes about. Where this process has started Ray itself, it is that
    one, and it goes on.

    address: None starts Ray here, bound to loopback and guarded by a token; else a running cluster to join, such as
    `auto` or `host:6379`, from one of its machines. verbose: let Ray and its workers print. cpus: logical CPUs of
    a local Ray; default all that this process may use. title: of what runs in it, as Ray lists it. A local Ray's files
    go with it, as `session_folder` says.
    Raises UserError where the cluster can't be reached or the dashboard doesn't start, or where `cpus` are given for a
    Ray that runs already.
    """
    if cpus is not None and (address or started()):
        raise UserError("--cpus is of a Ray that is started for the command: leave it out for one that runs already")
    if started():
        yield _held[-1] if _held else _described(_own_dashboard(), None)
        return
    prepare_environment(address, verbose)
    if address:
        _check_address(address)
    import ray

    before = psutil.Process().children(recursive=True)
    with ExitStack() as ends:
        folder = None if address else ends.enter_context(session_folder())
        ends.callback(end_ray, before, ray.shutdown)
        with driver_named(title) as named:
            context = _start(folder, verbose, cpus, before, named) if folder else _join(str(address), verbose, named)
        if not verbose:
            _hush()
        _held.append(_described(context.dashboard_url, token_file() if address is None else None))
        ends.callback(_held.pop)
        yield _held[-1]


def _own_dashboard() -> str | None:
    """The dashboard's URL of the Ray that this process has started."""
    import ray

    return ray._private.worker.get_dashboard_url()


def _described(dashboard: str | None, token: Path | None) -> Cluster:
    """Raises UserError where the dashboard is missing."""
    import ray

    if not dashboard:
        raise UserError(
            "that Ray has no dashboard, and without it trials keep their CPUs: ray.init(include_dashboard=True)"
        )
    found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    machines = tuple((int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in found)
    return Cluster(dashboard if dashboard.startswith("http") else f"http://{dashboard}", token, machines)


def grown(cluster: Cluster) -> Cluster:
    """The cluster, once a machine of it has a CPU: a task waits for one, which is what lets a cluster grow."""
    import ray

    ray.get(ray.remote(num_cpus=1)(lambda: None).remote())
    return _described(cluster.dashboard, cluster.token)


def _join(address: str, verbose: bool, named: Mapping[str, Any]) -> Any:
    import ray
    import ray._private.worker as worker

    try:
        with own_signals(), nullcontext() if verbose else unheard(worker):
            level = logging.INFO if verbose else logging.ERROR
            return ray.init(address, log_to_driver=verbose, logging_level=level, **named)
    except Exception as error:  # Ray raises plain ones, too
        here = any("raylet" in (process.info["name"] or "") for process in psutil.process_iter(["name"]))
        cure = "" if here else f"; no Ray runs on this machine: {ELSEWHERE}"
        raise UserError(f"can't join the Ray cluster at {address}: {_line(error)}{cure}") from None


def _start(
    folder: Path, verbose: bool, cpus: int | None, before: Sequence[psutil.Process], named: Mapping[str, Any]
) -> Any:
    """Start Ray here, its files in the folder; a second time where its dashboard didn't start: of two Rays that start
    at once, both may find the usual port free."""
    import ray
    import ray._private.parameter as parameter
    import ray._private.services as services
    import ray._private.worker as worker

    quiet: Any = nullcontext if verbose else partial(unheard, worker)
    unlogged: Any = nullcontext if verbose else partial(unread, parameter)
    if not verbose:  # a dashboard that doesn't start is started again, or said in a line of ours
        logging.getLogger(services.__name__).setLevel(logging.CRITICAL)
    why = ""
    for preferred in (DASHBOARD_PORT, 0):
        port = _free_port(preferred)
        # Train's and Tune's cleaners ask the dashboard. Left to search for it, they take what another Ray on this
        # machine has left or runs, and every training's end waits 12 s for them.
        os.environ["RAY_API_SERVER_ADDRESS"] = f"http://127.0.0.1:{port}"
        try:
            with own_signals(), quiet(), unlogged(), group_apart(services), scratch_as_default(folder):
                context = ray.init(
                    "local",
                    num_cpus=cpus or usable_cpus(),
                    include_dashboard=True,
                    dashboard_host="127.0.0.1",
                    dashboard_port=port,
                    log_to_driver=verbose,
                    logging_level=logging.INFO if verbose else logging.CRITICAL,
                    _temp_dir=str(rays(folder)),
                    **named,
                )
            if context.dashboard_url:
                return context
            why = "its dashboard didn't start, and without it trials keep their CPUs"
        except Exception as error:  # Ray raises plain ones where its dashboard takes too long to start
            why = _line(error)
        end_ray(before, ray.shutdown)
    raise Kept(f"can't start Ray: {why}; look closer with -v, or at its logs in {folder}")


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _check_address(address: str) -> None:
    """Raises UserError where nobody answers: Ray itself would go on trying for minutes."""
    if address.startswith("ray://"):
        raise UserError(f"ray:// is not supported: {ELSEWHERE}")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return  # `auto`, or what Ray knows better
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE * 5).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"can't join the Ray cluster at {address}: {error}") from None


def _hush() -> None:
    """Errors only; none from Tune and Train, which print tracebacks of failures that we report ourselves."""
    ours = ("ray.tune", "ray.train")
    for name in [*logging.root.manager.loggerDict, *ours]:
        if name == "ray" or name.startswith("ray."):
            logging.getLogger(name).setLevel(logging.CRITICAL if name.startswith(ours) else logging.ERROR)


def _free_port(preferred: int) -> int:
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UserError("no free port for Ray's dashboard")
