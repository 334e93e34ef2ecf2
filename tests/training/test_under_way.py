from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from capetune.config import Config
from capetune.datasets.packs.reader import Pack
from capetune.runs.checkpoints import UNDER_WAY, keep_epoch, resume_point
from capetune.runs.history import read_history
from capetune.training.checkpoint import load_model, load_training, load_under_way, save_under_way
from capetune.training.loop import Metrics, Save, fit
from capetune.training.ranks import Ranks
from capetune.training.under_way import UnderWay

KEYS = {
    "model.width": 32,
    "model.heads": 4,
    "model.vocabulary": 16,
    "model.support.layers": 1,
    "model.decoder.layers": 1,
    "model.backbone.name": "efficientnet_lite0",
    "model.backbone.weights": "none",
    "data.size": 64,
    "train.epochs": 2,
    "train.steps": 4,
    "train.batch_size": 4,
    "train.ema": 0.9,
    "validation.episodes": 1,
    "validation.queries": 2,
}


class Gone(Exception):
    """The machine."""


@pytest.fixture(scope="module")
def config() -> Config:
    return Config().with_overrides(KEYS)


def train(
    config: Config,
    pack: Pack,
    folder: Path,
    notice: tuple[int, int] = (0, 0),
    gone: tuple[int, int] = (0, 0),
    ranks: Ranks | None = None,
) -> list[tuple[int, int]]:
    """A training in a folder, until the machine is gone after that epoch and step, of which it knows from `notice` on.
    Returns the steps it did."""
    done: list[tuple[int, int]] = []

    def leaving() -> frozenset[str]:
        if done[-1] == gone:
            raise Gone
        return frozenset({"one"} if notice != (0, 0) and done[-1] >= notice else ())

    def report(metrics: Metrics, save: Save) -> None:
        keep_epoch(folder, metrics, save, lambda row: None, "mpck4", "max")

    under_way = UnderWay(folder, leaving, lambda save, epoch, step: save(folder))
    try:
        progress: Callable[[int, int, int], None] = lambda epoch, steps, step: done.append((epoch, step))  # noqa: E731
        fit(config, pack, report, ranks, resume_point(folder), progress, under_way=under_way)
    except Gone:
        pass
    return done


@pytest.mark.parametrize("epoch", [1, 2])
def test_an_epoch_goes_on_after_the_step_at_which_a_machine_was_known_to_go(
    config: Config, pack: Pack, tmp_path: Path, epoch: int
) -> None:
    assert train(config, pack, tmp_path, notice=(epoch, 2), gone=(epoch, 3))[-1] == (epoch, 3)
    step, state = load_under_way(tmp_path, epoch)
    assert step == 2
    assert state["schedule"]["last_epoch"] == 4 * (epoch - 1) + 2
    assert set(state) == {"model", "averaged", "optimizer", "schedule"}
    left = [(epoch, 3), (epoch, 4)] + [(2, step) for step in range(1, 5) if epoch == 1]
    assert train(config, pack, tmp_path) == left
    assert [row["epoch"] for row in read_history(tmp_path)] == [1, 2]
    found = resume_point(tmp_path)
    assert found is not None
    training = load_training(found)
    assert training["schedule"]["last_epoch"] == 8
    assert {int(each["step"]) for each in training["optimizer"]["state"].values()} == {8}
    assert not (tmp_path / UNDER_WAY).exists()


def test_it_goes_on_with_the_weights_that_were_kept(config: Config, pack: Pack, tmp_path: Path) -> None:
    still = config.with_overrides({"train.learning_rate": 1e-12, "train.ema": 0.0, "train.epochs": 1})
    train(still, pack, tmp_path, notice=(1, 1), gone=(1, 2))
    step, state = load_under_way(tmp_path, 1)
    name, weight = next((name, value) for name, value in state["model"].items() if value.ndim == 2)
    weight += 1.0
    save_under_way(tmp_path, 1, step, state)
    train(still, pack, tmp_path)
    trained, _ = load_model(tmp_path / "epoch-0001")
    torch.testing.assert_close(trained.state_dict()[name], weight, atol=1e-6, rtol=0)


def other_rank_has_none(array: np.ndarray) -> list[np.ndarray]:
    return [array, np.minimum(array, 0)] if array.shape == (1,) else [array]  # and has left out nothing: -1


@pytest.mark.parametrize("what", ["damaged", "another epoch's", "not on every rank"])
def test_what_can_t_be_gone_on_with_costs_no_more_than_the_epoch(
    config: Config, pack: Pack, tmp_path: Path, what: str
) -> None:
    train(config, pack, tmp_path, notice=(1, 2), gone=(1, 3))
    ranks = Ranks(gather=other_rank_has_none) if what == "not on every rank" else None
    if what == "damaged":
        file = tmp_path / UNDER_WAY / "training.pt"
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif what == "another epoch's":
        save_under_way(tmp_path, 2, *load_under_way(tmp_path, 1))
    assert train(config, pack, tmp_path, ranks=ranks)[:2] == [(1, 1), (1, 2)]


def test_a_machine_is_heeded_once(config: Config, pack: Pack, tmp_path: Path) -> None:
    kept = []
    now: set[str] = set()
    under_way = UnderWay(None, lambda: frozenset(now), lambda save, epoch, step: kept.append((epoch, step)))
    for step, fresh in enumerate([(), ("a",), (), ("b",), ()], start=1):
        now.update(fresh)
        under_way.look(3, step, dict)
    assert kept == [(3, 2), (3, 4)]
