"""What the cluster's machines can do, and which of them are gone."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from capetune.errors import UserError


def check_writable(folder: Path) -> int:
    """Let every machine of the cluster write a file there. Returns how many there are."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    probe = ray.remote(num_cpus=0)(_write)
    asked: dict[str, Any] = {}
    for number, node in enumerate(nodes):
        where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked[node["NodeName"]] = probe.options(scheduling_strategy=where).remote(str(folder.resolve()), number)
    for name, answer in asked.items():
        file, error = ray.get(answer)
        seen = Path(file).is_file()
        Path(file).unlink(missing_ok=True)
        if error or not seen:
            why = error or "what it wrote there can't be seen from here"
            raise UserError(f"{name} can't write into {folder}: {why}; give --runs a folder that all machines share")
    return len(nodes)


def lost_nodes(known: set[str]) -> list[str]:
    """Names of the nodes that the cluster has lost since the last call, a few milliseconds' work; Ray itself notices a
    killed one after some seconds.

    known: ids of lost nodes, to which these are added. A call on joining fills it with those that were lost before.
    """
    lost = {node["NodeID"]: node["NodeName"] for node in ray.nodes() if not node["Alive"]}
    fresh = [name for number, name in lost.items() if number not in known]
    known |= set(lost)
    return fresh


def _write(folder: str, number: int) -> tuple[str, str | None]:
    file = Path(folder) / f".probe-{number}"
    try:
        file.write_text(f"{socket.gethostname()} {os.getpid()}\n")
    except OSError as error:
        return str(file), str(error.strerror or error)
    return str(file), None
