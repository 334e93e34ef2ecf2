"""Processes that exchange arrays, as a training's ranks do."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from capetune.config import Config
from capetune.datasets.episodes.stream import train_batches
from capetune.datasets.packs.reader import Pack
from capetune.models.estimator import PoseEstimator
from capetune.training.group import exchange
from capetune.training.optim import make_schedule
from capetune.training.step import train_step
from tests.training.conftest import KEYS

ROOT = Path(__file__).parents[2]

JOINS = """
import json, pathlib, sys, time
import numpy as np, psutil, torch
from capetune.training.group import LOOPBACK, exchange, gather, process_group

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
"""

RANK = f"""{JOINS}
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
print(json.dumps({{
    "listening": listening,
    "got": [[[str(a.dtype), list(a.shape), a.tolist()] for a in each] for each in got],
}}))
"""

TRAINS = f"""{JOINS}
from torch.nn.parallel import DistributedDataParallel
from tests.training.test_group import gradients

torch.set_num_threads(1)
with process_group(rank, world, cpu, LOOPBACK, share):
    for refine in (False, True):
        wrap = lambda model: DistributedDataParallel(model, **exchange(model))
        found = gradients(folder / "batches", refine, slice(2 * rank, 2 * rank + 2), wrap)
        torch.save(found, folder / f"rank {{rank}}, {{refine}}")
"""


Wrap = Callable[[nn.Module], nn.Module]


def gradients(batches: Path, refine: bool, mine: slice, wrap: Wrap) -> list[dict[str, torch.Tensor]]:
    """Those of three steps, each on all of four batches of different numbers of keypoints. The weights stay, for from
    other sums' last digits the steps after grow far apart, in one process too."""
    config = Config().with_overrides({**KEYS, "model.refine": refine, "train.input_noise": 0.0})
    groups = torch.load(batches, weights_only=False)
    torch.manual_seed(0)
    model = PoseEstimator(config.model)
    wrapped = wrap(model).eval()  # with BatchNorm's own statistics a batch's samples depend on each other
    optimizer, found = torch.optim.SGD(model.parameters(), 0.0), []
    schedule = make_schedule(optimizer, config.train, 10)
    for group in groups:
        train_step(wrapped, group[mine], optimizer, schedule, config)
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    return found


def test_ranks_that_exchange_gradients_have_those_of_one_process(pack: Pack, tmp_path: Path) -> None:
    """Two of two batches a step each: gradients are exchanged in the second one's backward pass alone."""
    data = Config().with_overrides(KEYS).data
    torch.save([list(train_batches(pack, data, 2, 0, epoch, steps=4)) for epoch in (1, 2, 3)], tmp_path / "batches")
    command = [sys.executable, "-c", TRAINS]
    ranks = [subprocess.Popen([*command, str(rank), "2", str(tmp_path)], cwd=ROOT) for rank in range(2)]
    wanted = [gradients(tmp_path / "batches", refine, slice(0, 4), lambda model: model) for refine in (False, True)]
    assert [rank.wait(timeout=200) for rank in ranks] == [0, 0]
    for refine, rank in itertools.product((False, True), range(2)):
        got = torch.load(tmp_path / f"rank {rank}, {refine}")
        for step, (mine, its) in enumerate(zip(got, wanted[refine], strict=True)):
            assert mine.keys() == its.keys()
            for name, grad in its.items():
                assert (mine[name] - grad).norm() <= 1e-4 * grad.norm() + 1e-7, (name, rank, refine, step)


def test_buffers_are_sent_round_only_where_a_training_changes_them(tmp_path: Path) -> None:
    config = Config().with_overrides(KEYS).model
    assert exchange(PoseEstimator(config))["forward_sync_buffers"]
    frozen = config.model_copy(update={"backbone": config.backbone.model_copy(update={"frozen": "all"})})
    assert not exchange(PoseEstimator(frozen))["forward_sync_buffers"]


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
