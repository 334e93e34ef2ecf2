from __future__ import annotations

from pathlib import Path

import pytest
import torch

from capetune.config import Config
from capetune.datasets.packs.reader import open_pack
from capetune.training.feed import MOST, Feed, loader_processes
from capetune.training.laps import Laps
from capetune.training.ranks import Ranks

CONFIG = Config().with_overrides({"data.size": 64, "train.batch_size": 3})


@pytest.mark.parametrize(
    ("workers", "device", "cpus", "world", "wanted"),
    [
        ("auto", "cpu", 16, 1, 0),
        (3, "cpu", 2, 1, 3),
        ("auto", "cuda", 1, 1, 0),
        ("auto", "cuda", 4, 1, 3),
        ("auto", "cuda", 64, 1, MOST),
        ("auto", "cuda", 64, 4, 2),  # there are 8 shards
    ],
)
def test_auto_is_a_process_for_each_cpu_beside_a_gpu(
    tiny_pack: Path, workers: int | str, device: str, cpus: int, world: int, wanted: int
) -> None:
    config = CONFIG.with_overrides({"data.workers": workers})
    assert loader_processes(open_pack(tiny_pack), config, Ranks(0, world, device, cpus)) == wanted


def test_padded_batches_are_the_same_but_for_keypoints_that_are_none(tiny_pack: Path) -> None:
    pack = open_pack(tiny_pack)
    plain, padded = (next(Feed(pack, CONFIG, Ranks(), None, shaped)(1, 1, Laps())) for shaped in (False, True))
    assert padded[1] == ()
    assert padded[0].joints.shape[1] in (8, 17, 32, 68, 100)
    assert torch.equal(padded[0].joints.sum(dim=1), plain[0].joints.sum(dim=1))
    assert torch.equal(padded[0].images, plain[0].images)
