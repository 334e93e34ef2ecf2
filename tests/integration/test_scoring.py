"""Evaluation by several workers, on a real Ray."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

import capetune
from capetune.cluster.machines import Cluster
from capetune.cluster.session import ray_cluster
from capetune.datasets.packs.reader import open_pack
from capetune.errors import UserError
from capetune.evaluation.model import ModelPredictor
from capetune.evaluation.protocol import official_pairs
from capetune.events import Event
from capetune.runs.checkpoints import read_meta
from capetune.training.checkpoint import load_model
from capetune.tuning.preflight import plan


def workers() -> list[psutil.Process]:
    return [each for each in psutil.Process().children(recursive=True) if "_Worker" in "".join(each.cmdline())]


@pytest.mark.long
def test_one_and_three_workers_give_the_digits_of_this_process_also_where_one_is_killed(
    untrained: Path, tiny_pack: Path
) -> None:
    from capetune.tuning.scoring import SpreadPredictor, scorers

    model, meta = load_model(untrained)
    pack = open_pack(tiny_pack)
    part = pack.part(1, "train")
    pairs = official_pairs(part, 1, 3, 15).categories
    alone = ModelPredictor(model.settle("cpu"), pack, meta.config.data, batch_size=16)
    wanted = dict(alone.predict_all(part.instances, pairs))
    options = {"checkpoint": untrained, "part": "train", "shots": (1, 2), "episodes": 1, "ablate": True}
    local = capetune.evaluate(**options, listener=lambda event: None)
    with ray_cluster(cpus=3) as cluster:
        for count in (1, 3):
            heard: list[Event] = []
            kills = count == 3
            with scorers(replace(plan(cluster, 1, count), threads=1), count, "test", heard.append) as crew:
                predictor = SpreadPredictor(crew, untrained, meta, pack, part, size=16)
                found = {}
                for entry, xy in predictor.predict_all(part.instances, pairs):
                    found[entry] = xy
                    if kills and len(workers()) == 3:
                        workers()[0].kill()
                        kills = False
                assert len(found) == len(wanted) == 10
                assert all(np.array_equal(found[entry], wanted[entry]) for entry in wanted)
                assert all(map(np.array_equal, predictor.scores, alone.scores))
                assert not kills
                assert len(heard) == (count == 3), heard
        with pytest.raises(UserError, match=r"^machine .*nowhere"):
            list(crew_on_a_missing_pack(cluster, untrained, tiny_pack))
        spread = capetune.evaluate(**options, workers=2, listener=lambda event: None)
    assert len(spread.reports) == 2
    assert spread.to_json() == local.to_json()


def crew_on_a_missing_pack(cluster: Cluster, checkpoint: Path, pack: Path) -> Iterator[tuple[int, np.ndarray]]:
    """A pack that this process has read, and that isn't there when a worker looks."""
    from capetune.tuning.scoring import SpreadPredictor, scorers

    shutil.copytree(pack, pack.with_name("nowhere"))
    away = open_pack(pack.with_name("nowhere"))
    part = away.part(1, "test")
    assert away.fingerprint
    shutil.rmtree(pack.with_name("nowhere"))
    with scorers(plan(cluster, 1, 1), 1, "test", lambda event: None) as crew:
        predictor = SpreadPredictor(crew, checkpoint, read_meta(checkpoint), away, part)
        yield from predictor.predict_all(part.instances, official_pairs(part, 1, 1, 3).categories)
