"""What the cluster's machines can do, and which of them are gone."""

from __future__ import annotations

import os
import socket
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from capetune.cluster.head import answers, head_address
from capetune.errors import UserError
from capetune.storage.address import is_address, open_place
from capetune.storage.place import Missing


def check_writable(where: str) -> int:
    """Let every machine of the cluster write a file into a folder or at an address. Returns how many there are.

    Raises UserError, naming the machine, where one can't, or writes what can't be read here.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    probe = ray.remote(num_cpus=0)(_write)
    place = open_place(open_place(where).resolved)
    asked: list[tuple[str, Any]] = []
    for number, node in enumerate(nodes):
        at = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        answer = probe.options(scheduling_strategy=at).remote(place.resolved, f".probe-{number}")
        asked.append((node["NodeName"], answer))
    cure = "see the credentials in its environment" if is_address(where) else "give --runs a folder that all share"
    for number, (name, answer) in enumerate(asked):
        said, error = ray.get(answer)
        try:
            seen = place.read(f".probe-{number}").decode() == said
        except Missing:
            seen = False
        place.delete(f".probe-{number}")
        if error or not seen:
            why = error or "what it wrote there can't be seen from here"
            raise UserError(f"machine {name} can't write into {where}: {why}; {cure}")
    return len(nodes)


def lost_nodes(known: set[str]) -> list[str]:
    """Names of the nodes that the cluster has lost since the last call, a few milliseconds' work; Ray itself notices a
    killed one after some seconds.

    known: ids of lost nodes, to which these are added. A call on joining fills it with those that were lost before.
    """
    if not answers(head_address()):  # asking it would take until Ray ends this process
        return []
    lost = {node["NodeID"]: node["NodeName"] for node in ray.nodes() if not node["Alive"]}
    fresh = [name for number, name in lost.items() if number not in known]
    known |= set(lost)
    return fresh


def _write(where: str, name: str) -> tuple[str, str | None]:
    said = f"{socket.gethostname()} {os.getpid()}\n"
    try:
        open_place(where).write(name, said.encode())
    except UserError as error:
        return said, str(error)
    return said, None
