"""Slurm itself, Debian's, on machines of `nodes`: munge and slurmd on each, slurmctld on the first."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence

from .nodes import Node

CONFIG = """
ClusterName=capetune
SlurmctldHost={first}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=/mnt/state
SlurmdSpoolDir=/mnt/spool
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MpiDefault=none
KillWait=5
NodeName={names} CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes={names} Default=YES OverSubscribe=EXCLUSIVE State=UP
"""
MUNGE = ["--key-file=/mnt/munge.key", "--socket=/run/munge/munge.socket.2", "--pid-file=/tmp/munge.pid"]


def can_be_had() -> bool:
    return all(shutil.which(tool) for tool in ("slurmctld", "slurmd", "munged"))


@contextlib.contextmanager
def slurm(machines: Sequence[Node], cpus: int) -> Iterator[None]:
    """Started on them; it ends with them. cpus: that each is said to have."""
    names = ",".join(node.name for node in machines)
    text = CONFIG.format(first=machines[0].name, names=names, cpus=cpus)
    begin = """
    mkdir -p /etc/slurm /mnt/state /mnt/spool /run/munge
    printf %s "$1" >/etc/slurm/slurm.conf
    printf %s 0123456789abcdef0123456789abcdef >/mnt/munge.key
    chmod 600 /mnt/munge.key
    shift
    munged "$@" --force --log-file=/tmp/munged.log --seed-file=/tmp/munge.seed
    if [ "$(hostname)" = "$SLURM_FIRST" ]; then slurmctld -i -L /mnt/shared/log/slurmctld; fi
    slurmd -L "/mnt/shared/log/slurmd-$(hostname)"
    """
    for node in machines:
        done = node.run("bash", "-ec", begin, "begin", text, *MUNGE, env={"SLURM_FIRST": machines[0].name})
        assert done.returncode == 0, done.stdout + done.stderr
    until = time.monotonic() + 60
    while machines[0].run("sinfo", "--noheader", "--format=%D %t").stdout != f"{len(machines)} idle\n":
        assert time.monotonic() < until, machines[0].run("sinfo", "--Node", "--long").stdout
        time.sleep(0.2)
    yield
