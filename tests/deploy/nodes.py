"""Machines of a cluster, on this one: each a name and an address of its own on a network that leads nowhere else, with
its own processes, /tmp, /run, /etc and shared memory. Namespaces of Linux, so root is needed; all ends with them.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SHARED = Path("/mnt/shared")  # a folder that all machines see, as a cluster's shared disk
NET = "10.77.0"
SETUP = """
set -e
mount -t tmpfs none /mnt
mkdir /mnt/shared /mnt/root /mnt/upper /mnt/work
mount --bind "$1" /mnt/shared
mount --bind "$2" /mnt/root
mount -t overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work none /etc
for place in /tmp /run /dev/shm; do mount -t tmpfs -o mode=1777 none "$place"; done
if ! [ -d "$2" ]; then mkdir -p "$2" && mount --bind /mnt/root "$2"; fi  # a clone below /tmp
cp /mnt/shared/hosts /etc/hosts
hostname "$3"
ip link set lo up
echo ready
read -r end
"""  # bash, the first process in there, takes in those that lose their parent


def can_be_had() -> bool:
    """Whether this process may make such machines."""
    tools = all(shutil.which(tool) for tool in ("unshare", "nsenter", "ip"))
    return tools and subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"]).returncode == 0


@dataclass
class Node:
    name: str
    address: str
    shared: Path  # what is SHARED there, as it is called outside
    pid: int  # of its first process, as it is seen from outside
    process: subprocess.Popen

    def words(self, *words: object, env: Mapping[str, str] | None = None, folder: Path = SHARED) -> list[str]:
        """The command that runs words there, with nothing of this environment."""
        path = f"{BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        given = {"PATH": path, "HOME": "/tmp/home", "LANG": "C.UTF-8", **(env or {})}
        into = ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", "--uts", "--"]
        inside = ["env", "--ignore-environment", f"--chdir={folder}", *(f"{key}={given[key]}" for key in given)]
        return [*into, *inside, *map(str, words)]

    def run(self, *words: object, timeout: float = 240, **how: Any) -> subprocess.CompletedProcess:
        return subprocess.run(self.words(*words, **how), capture_output=True, text=True, timeout=timeout)

    def start(self, *words: object, **how: Any) -> subprocess.Popen:
        """What it prints goes into a file in the shared folder's log/."""
        with (self.shared / "log" / f"{self.name}-{Path(str(words[0])).name}").open("a") as stream:
            return subprocess.Popen(self.words(*words, **how), stdout=stream, stderr=subprocess.STDOUT)

    def end(self) -> None:
        """All of its processes at once, as when a machine goes down."""
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def nodes(names: Sequence[str], shared: Path) -> Iterator[list[Node]]:
    """Machines of those names, which see `shared` as SHARED; the first one's bridge connects them."""
    addresses = {name: f"{NET}.{number}" for number, name in enumerate(names, 1)}
    lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in addresses.items())]
    (shared / "hosts").write_text("\n".join(lines) + "\n")
    (shared / "log").mkdir()
    with contextlib.ExitStack() as ends:
        found: list[Node] = []
        for name in names:
            node = _begun(name, addresses[name], shared)
            ends.callback(node.end)
            found.append(node)
            _connect(node, found[0])
        yield found


def _begun(name: str, address: str, shared: Path) -> Node:
    apart = ["--mount", "--net", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = ["unshare", *apart, "bash", "-c", SETUP, "node", str(shared), str(ROOT), name]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    (first,) = psutil.Process(process.pid).children()
    return Node(name, address, shared, first.pid, process)


def _connect(node: Node, first: Node) -> None:
    def ip(at: Node, line: str) -> None:
        subprocess.run(["nsenter", f"--net=/proc/{at.pid}/ns/net", "ip", *line.split()], check=True)

    if node is first:
        ip(first, "link add eth0 type bridge")
    else:
        ip(first, f"link add {node.name} master eth0 type veth peer name eth0 netns {node.pid}")
        ip(first, f"link set {node.name} up")
    ip(node, f"addr add {node.address}/24 dev eth0")
    ip(node, "link set eth0 up")
