"""A training of two workers that is killed in mid-epoch, twice, and the samples that it has seen in the end.

Of one worker: tests/training/test_under_way.py.
"""

from __future__ import annotations

import json
import signal
import time

import pytest

from capetune.config import load_config
from capetune.datasets.episodes.stream import train_batches
from capetune.datasets.packs.reader import open_pack
from capetune.runs.ledger import read_ledger

from .conftest import PATIENCE, SMALL

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]

STEPS, EPOCHS = 30, 4
KEYS = {"train.steps": STEPS, "train.save_minutes": 0.01, "train.epochs": EPOCHS, "validation.queries": 2}


def killed_in(epoch, start, place, *words):
    """Kill all of it, SIGKILL, after a step of that epoch's second half. Returns the last step that was kept."""
    program = start(*words, "--ledger", set_=KEYS)
    where = place / "runs/it/under-way/where.json"

    def kept():
        """After the half, so that something is lost: the steps since it was kept."""
        try:
            row = json.loads(where.read_text())
        except FileNotFoundError:
            return False
        return row["epoch"] == epoch and row["step"] >= STEPS / 2

    until = time.monotonic() + PATIENCE
    while not kept():
        assert program.process.poll() is None, program.err
        assert time.monotonic() < until, program.out
        time.sleep(0.01)
    program.kill()
    assert program.end() == -signal.SIGKILL
    return json.loads(where.read_text())["step"]


def test_killed_in_mid_epoch_each_step_is_that_of_an_undisturbed_run(start, place, tiny_pack):
    """Two workers, again two, then one: what one goes on with in mid-epoch after two is drawn anew to its end."""
    words = ("train", "--data", tiny_pack, "--name", "it")
    killed_in(2, start, place, *words, "--workers", 2)
    last = killed_in(3, start, place, *words, "--workers", 2)
    program = start(*words, set_=KEYS)  # it keeps the ledger that there is
    assert program.end() == 0, program.err
    assert [line for line in program.out if "epoch 4/4" in line]

    ledger = list(read_ledger(place / "runs/it"))
    assert [row[:2] for row in ledger] == [
        (epoch, step) for epoch in range(1, EPOCHS + 1) for step in range(1, STEPS + 1)
    ]
    settings = [f"{key}={value}" for key, value in (SMALL | KEYS).items()]
    config, pack = load_config("demo", None, settings), open_pack(tiny_pack)

    def undisturbed(epoch, world):
        batches = (
            train_batches(pack, config.data, config.train.batch_size, config.seed, epoch, rank, world, steps=STEPS)
            for rank in range(world)
        )
        ids = ([batch.ids.tolist() for batch in rank] for rank in batches)
        return [(epoch, step, list(seen)) for step, seen in enumerate(zip(*ids, strict=True), start=1)]

    told = {epoch: [row for row in ledger if row[0] == epoch] for epoch in range(1, EPOCHS + 1)}
    assert [told[epoch] for epoch in (1, 2)] == [undisturbed(epoch, 2) for epoch in (1, 2)]
    assert told[3][:last] == undisturbed(3, 2)[:last]
    assert {len(ids) for _, _, ids in told[3][last:]} == {1}
    assert told[4] == undisturbed(4, 1)
