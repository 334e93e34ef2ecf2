"""What the cluster's machines can do, and which of them are gone."""

from __future__ import annotations

import hashlib
import math
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from capetune.cluster.head import answers, head_address
from capetune.errors import UserError
from capetune.storage.address import is_address, open_place
from capetune.storage.place import Place

PROBE = ".probe"
LOOK = 2.0  # seconds between two looks for lost nodes


@dataclass(frozen=True)
class _Seen:
    """What a machine wrote, and the checksum of what it read; or why it couldn't."""

    wrote: str
    read: str = ""
    unwritten: str | None = None
    unread: str | None = None


def check_machines(runs: str, data: str, file: str, ours: bool) -> int:
    """Let every machine of the cluster write a file into a folder or at an address, and read one of the data there.
    Returns how many there are. ours: whether the cluster is this machine alone, which needs no other process for it.

    Raises UserError, naming the machine, where one can't, or writes or reads something else than is seen from here.
    """
    place, data = open_place(runs), open_place(data).resolved
    here = _look(place.resolved, f"{PROBE}-here", data, file)
    nodes = [] if ours else [node for node in ray.nodes() if node["Alive"]]
    asked: list[tuple[str, str, Any]] = [(socket.gethostname(), f"{PROBE}-here", here)] if ours else []
    for number, node in enumerate(nodes):
        at = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        look = ray.remote(num_cpus=0)(_look).options(scheduling_strategy=at)
        probe = f"{PROBE}-{number}"
        asked.append((node["NodeName"], probe, look.remote(place.resolved, probe, data, file)))
    try:
        seen = [answer if ours else ray.get(answer) for _, _, answer in asked]  # all: who is late would write after us
        for (name, probe, _), each in zip(asked, seen, strict=True):
            _compare(name, place, probe, each, here, data)
    finally:
        for probe in {f"{PROBE}-here", *(probe for _, probe, _ in asked)}:
            with suppress(UserError):
                place.delete(probe)
    return len(asked)


def _compare(name: str, place: Place, probe: str, seen: _Seen, here: _Seen, data: str) -> None:
    """Raises UserError where that machine did or saw something else than this one."""
    runs = place.resolved
    try:
        arrived = place.read(probe).decode() == seen.wrote
    except UserError:
        arrived = False
    if seen.unwritten or not arrived:
        why = seen.unwritten or "what it wrote there can't be seen from here"
        raise UserError(f"machine {name} can't write into {runs}: {why}; {_cure(runs, '--runs')}")
    if seen.unread or seen.read != here.read:
        why = seen.unread or "what it reads there is not what this machine reads"
        raise UserError(f"machine {name} can't read {data}: {why}; {_cure(data, '--data')}")


def _cure(where: str, option: str) -> str:
    folder = f"give {option} a folder that all machines share, or an address"
    return "see the credentials in its environment" if is_address(where) else folder


def _look(runs: str, name: str, data: str, file: str) -> _Seen:
    wrote = f"{socket.gethostname()} {os.getpid()}\n"
    try:
        open_place(runs).write(name, wrote.encode())
    except UserError as error:
        return _Seen(wrote, unwritten=str(error))
    try:
        return _Seen(wrote, hashlib.sha256(open_place(data).read(file)).hexdigest())
    except UserError as error:
        return _Seen(wrote, unread=str(error))


class LostNodes:
    """Called again and again, gives the names of the nodes that the cluster has lost since the first call: each once,
    and some seconds late, as Ray notices a killed one. It looks every two seconds, for some milliseconds."""

    def __init__(self) -> None:
        self._known: set[str] | None = None
        self._looked = -math.inf

    def __call__(self) -> list[str]:
        if time.monotonic() - self._looked < LOOK or not answers(head_address()):
            return []  # of a head that is gone, Ray would wait until it ends this process
        self._looked = time.monotonic()
        lost = {node["NodeID"]: node["NodeName"] for node in ray.nodes() if not node["Alive"]}
        before, self._known = self._known, set(lost)
        return [] if before is None else [name for number, name in lost.items() if number not in before]
