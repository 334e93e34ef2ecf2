"""Processes that exchange arrays, as a training's ranks do."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

RANK = """
import json, pathlib, sys, time
import numpy as np, psutil, torch
from capetune.training.group import LOOPBACK, gather, process_group

rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3])
said = folder / "said"

def share(word):
    if rank == 0:
        (folder / "aside").write_text(json.dumps(word))
        (folder / "aside").rename(said)
    while not said.exists():
        time.sleep(0.01)
    return json.loads(said.read_text())

cpu = torch.device("cpu")
with process_group(rank, world, cpu, LOOPBACK, share):
    sent = [
        np.arange(6, dtype=np.float64).reshape(3, 2)[:rank] / 3,  # another length a rank, and none
        np.array([2**62 + rank, -1]),
        np.array(rank == 1),
        np.full((1, 2, 0, 3), rank, np.float32),
        np.array([[np.nan, np.inf]])[:, ::-1],
    ]
    got = [gather(array, cpu) for array in sent]
    listening = [c.laddr.ip for c in psutil.Process().net_connections("inet") if c.status == "LISTEN"]
    for each in got:
        each[0] = each[0] + 1 if each[0].size else each[0]  # writable, and nobody else's
print(json.dumps({
    "listening": listening,
    "got": [[[str(a.dtype), list(a.shape), a.tolist()] for a in each] for each in got],
}))
"""


@pytest.mark.parametrize("world", [1, 3])
def test_arrays_of_any_length_come_whole_and_nothing_listens_but_on_loopback(tmp_path, world):
    ranks = [
        subprocess.Popen([sys.executable, "-c", RANK, str(rank), str(world), str(tmp_path)], stdout=subprocess.PIPE)
        for rank in range(world)
    ]
    said = [json.loads(rank.communicate(timeout=200)[0]) for rank in ranks]
    for each in said:
        assert set(each["listening"]) <= {"127.0.0.1", "::ffff:127.0.0.1"}
        lengths, integers, flags, empty, odd = each["got"]
        assert [(dtype, shape) for dtype, shape, _ in lengths] == [("float64", [rank, 2]) for rank in range(world)]
        assert [values for _, _, values in lengths[1:]] == [[[0.0, 1 / 3]], [[0.0, 1 / 3], [2 / 3, 1.0]]][: world - 1]
        assert [values[0] - (rank == 0) for rank, (_, _, values) in enumerate(integers)] == [
            2**62 + rank for rank in range(world)
        ]
        assert {dtype for dtype, _, _ in integers} == {"int64"}
        assert [bool(values) for _, _, values in flags][1:] == [True, False][: world - 1]
        assert all((dtype, shape) == ("float32", [1, 2, 0, 3]) for dtype, shape, _ in empty)
        assert all(str(values) == "[[inf, nan]]" for _, _, values in odd)
    assert bool(said[0]["listening"]) == (world > 1)  # a single worker needs no group
