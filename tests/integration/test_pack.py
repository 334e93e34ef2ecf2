"""A set packed by all machines of a cluster, on loopback."""

from __future__ import annotations

import shutil

import pytest

from .machines import LOOPBACK, ray_machines

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]

CLUSTER = """
cluster = begin(num_cpus=0)
cluster.add_node(num_cpus=1)
cluster.add_node(num_cpus=1)
tell(cluster)
"""


def test_machines_cut_and_the_bytes_are_those_of_one(start, place, temporary, tiny_root):
    shutil.copytree(tiny_root, place / "tiny")
    (place / "tiny/images/tiny87_body/005.jpg").write_bytes(b"no picture")
    words = (
        "data",
        "pack",
        "--annotations",
        "tiny/annotations",
        "--images",
        "tiny/images",
        "--size",
        128,
        "--shards",
        8,
    )
    with ray_machines(CLUSTER, temporary) as machines:
        address = machines.stdout.readline().strip()
        made = [
            start(*words, "--out", out, *more, also=LOOPBACK)
            for out, more in (("here", ()), ("there", ("--address", address)))
        ]
        for program in made:
            assert program.end() == 0, program.err
            assert any("image unreadable: 1 image with 1 instance left out" in line for line in program.err)
    files = {path.name: path.read_bytes() for path in (place / "here").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (place / "there").iterdir()}
    assert len(files) == 10
