"""The steps that several verbs take, and what is heard of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from capetune.cluster.environment import token_at_hand
from capetune.cluster.head import head_address, watched
from capetune.cluster.machines import Cluster
from capetune.cluster.session import grown, ray_cluster
from capetune.datasets import builtin
from capetune.datasets.packs.manifest import MANIFEST
from capetune.datasets.packs.reader import Pack
from capetune.events import CheckPassed, ClusterJoined, DataDescribed, Doubted, Event, Listener, Progress, StepBegan
from capetune.runs.copy import bring, glance
from capetune.runs.facts import describe_data
from capetune.runs.home import at_home
from capetune.service.request import Request
from capetune.storage.address import is_address
from capetune.storage.scratch import address_of, named

Asked = TypeVar("Asked", bound=Request)


def open_data(data: str | None, listener: Listener) -> Pack:
    """The pack at `data`, or the built-in one for None and `synthetic`. Raises UserError where it is neither."""

    def making(folder: Path) -> None:
        listener(StepBegan("data", str(folder)))

    def progress(what: str, done: int, total: int) -> None:
        listener(Progress("data", done, total, what))

    if data is not None and is_address(data):  # a store that doesn't answer is asked for a minute and more
        listener(StepBegan("opening", data))
    return builtin.open_data(data or builtin.SYNTHETIC, making, progress)


@contextmanager
def housed(request: Asked, listener: Listener) -> Iterator[tuple[Asked, Listener]]:
    """The request with a folder for its runs, as `at_home` gives it, and a listener that hears the address."""
    with at_home(request.runs) as folder:
        if not is_address(request.runs):
            yield request, listener
            return
        bring(folder, glance)  # what can't be reached is said before anything starts

        def hear(event: Event) -> None:
            said = {each.name: getattr(event, each.name) for each in fields(event)}
            listener(replace(event, **{name: named(value) for name, value in said.items() if isinstance(value, str)}))

        yield request.model_copy(update={"runs": folder}), hear


def described(pack: Pack, split: int, listener: Listener) -> dict[str, Any]:
    """`describe_data`, which the listener hears too."""
    facts = describe_data(pack, split)
    names = ("pack", "data", "split", "train_instances", "missing_categories")
    covered = pack.manifest.coverage
    listener(DataDescribed(**{name: facts[name] for name in names}, mp100=covered.line if covered else None))
    return facts


def machines_checked(cluster: Cluster, folder: Path, pack: Pack, listener: Listener) -> None:
    """`check_machines`, of a run's folder and the pack, which the listener hears too."""
    from capetune.cluster.probe import check_machines  # Ray

    runs = address_of(folder) or str(folder)
    nodes = check_machines(runs, pack.place.resolved, MANIFEST, ours=cluster.token is not None)
    said = f"{runs} can be written, and the pack be read, from {nodes} machine{'s' * (nodes > 1)}"
    listener(CheckPassed("storage", said))


@contextmanager
def ray_joined(
    address: str | None, verbose: bool, listener: Listener, title: str, again: str, cpus: int | None = None
) -> Iterator[Cluster]:
    """`ray_cluster`, which the listener hears too. Where it has a head without CPUs and nothing else, a machine is
    waited for. title: what Ray lists it as. again: what to type next where its head is lost."""
    listener(StepBegan("ray", address or ""))
    with ray_cluster(address, verbose, cpus, title) as cluster:
        token = cluster.token or token_at_hand()

        def joined() -> None:
            listener(ClusterJoined(cluster.cpus, cluster.gpus, cluster.dashboard, str(token) if token else None))

        joined()
        ours = cluster.token is not None
        if address and os.environ.get("RAY_AUTH_MODE") != "token":
            listener(Doubted(f"the cluster at {address} asks for no token: who reaches its ports can run code on it"))
        with watched(head_address(), ours, again, lambda line: listener(Doubted(line))):
            if not cluster.cpus:
                listener(StepBegan("machines"))
                cluster = grown(cluster)
                joined()
            yield cluster
