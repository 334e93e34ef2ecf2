from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from capetune.config import Config
from capetune.datasets.episodes.stream import train_batches
from capetune.datasets.packs.reader import Pack, open_pack
from capetune.runs.checkpoints import UNDER_WAY, keep_epoch, resume_point
from capetune.runs.history import read_history
from capetune.runs.ledger import Ledger, read_ledger
from capetune.training.checkpoint import Drawing, load_model, load_training, load_under_way, save_under_way
from capetune.training.features import Features, keep_features, open_features
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
    every: int = 0,
    ranks: Ranks | None = None,
    features: Features | None = None,
) -> list[tuple[int, int]]:
    """A training in a folder, until the machine is gone after that epoch and step, of which it knows from `notice` on.
    An epoch is kept after every so many steps. Returns the steps it did."""
    done: list[tuple[int, int]] = []

    def leaving() -> frozenset[str]:
        return frozenset({"one"} if notice != (0, 0) and done[-1] >= notice else ())

    def report(metrics: Metrics, save: Save) -> None:
        keep_epoch(folder, metrics, save, lambda row: None, "mpck4", "max")

    def progress(epoch: int, steps: int, step: int) -> None:
        if (epoch, step - 1) == gone:
            raise Gone
        done.append((epoch, step))

    due: Callable[[int, int], bool] = lambda epoch, step: every > 0 and step % every == 0  # noqa: E731
    under_way = UnderWay(folder, due, leaving, lambda save, epoch, step, leaving: save(folder))
    try:
        start = resume_point(folder)
        fit(config, pack, report, ranks, start, progress, features, under_way, ledger=Ledger(folder))
    except Gone:
        pass
    return done


def same_weights(one: Path, other: Path) -> bool:
    """Of the second epoch of two trainings."""
    first, second = (load_model(folder / "epoch-0002")[0].state_dict() for folder in (one, other))
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_killed_in_mid_epoch_it_ends_as_if_undisturbed(config: Config, pack: Pack, tmp_path: Path) -> None:
    config = config.with_overrides({"data.workers": 2, "train.accumulate": 2, "train.batch_size": 2})
    train(config, pack, tmp_path / "through")
    assert train(config, pack, tmp_path / "killed", gone=(2, 3), every=2)[-1] == (2, 3)
    assert train(config, pack, tmp_path / "killed") == [(2, 3), (2, 4)]
    told = [list(read_ledger(tmp_path / name)) for name in ("through", "killed")]
    assert [row[:2] for row in told[0]] == [(epoch, step) for epoch in (1, 2) for step in range(1, 5)]
    assert told[0] == told[1]
    assert same_weights(tmp_path / "through", tmp_path / "killed")


def test_on_kept_features_too(config: Config, pack: Pack, tmp_path: Path) -> None:
    config = config.with_overrides({"model.backbone.frozen": "all", "data.workers": 2})
    keep_features(tmp_path / "features", pack, config, copies=1)
    features = open_features(tmp_path / "features")
    train(config, pack, tmp_path / "through", features=features)
    train(config, pack, tmp_path / "killed", gone=(1, 3), every=3, features=features)
    assert train(config, pack, tmp_path / "killed", features=features)[0] == (1, 4)
    assert list(read_ledger(tmp_path / "killed")) == list(read_ledger(tmp_path / "through"))
    assert same_weights(tmp_path / "through", tmp_path / "killed")


def test_spoilt_samples_shift_nothing(config: Config, tiny_pack: Path, tmp_path: Path) -> None:
    pack = open_pack(shutil.copytree(tiny_pack, tmp_path / "copy"))
    train_ids = {instance.id for group in pack.part(1, "train").instances.values() for instance in group}
    for row in [row for row in pack.rows if row.instance.id in train_ids][::3]:
        with (tmp_path / "copy" / pack.manifest.shards[row.shard].name).open("r+b") as file:
            file.seek(row.offset)
            file.write(bytes(row.length))
    config = config.with_overrides({"train.epochs": 1, "data.max_corrupt": 0.5})
    for name, gone in (("through", (0, 0)), ("killed", (1, 3)), ("killed", (0, 0))):
        train(config, pack, tmp_path / name, gone=gone, every=3)
    assert list(read_ledger(tmp_path / "killed")) == list(read_ledger(tmp_path / "through"))
    corrupt = [read_history(tmp_path / name)[0]["corrupt"] for name in ("through", "killed")]
    assert corrupt[0] == corrupt[1] > 5


def test_what_was_kept_of_another_stream_is_gone_on_with_on_samples_drawn_anew(
    config: Config, pack: Pack, tmp_path: Path
) -> None:
    """Of an epoch of other steps as much is done; from the next epoch on all is as if it had always been so."""
    train(config, pack, tmp_path, gone=(1, 3), every=2)
    other = config.with_overrides({"train.steps": 6, "train.schedule": "cosine"})
    assert train(other, pack, tmp_path)[0] == (1, 4)
    second = [ids for epoch, _, [ids] in read_ledger(tmp_path) if epoch == 2]
    batches = train_batches(pack, other.data, other.train.batch_size, other.seed, 2, steps=6)
    assert second == [batch.ids.tolist() for batch in batches]
    assert load_training(tmp_path / "epoch-0002")["schedule"]["last_epoch"] == 12


def test_one_kept_before_streams_were_told_is_gone_on_with(config: Config, pack: Pack, tmp_path: Path) -> None:
    train(config, pack, tmp_path, gone=(1, 3), every=2)
    place = tmp_path / UNDER_WAY
    where = json.loads((place / "where.json").read_text())
    (place / "training-000002.pt").rename(place / "training.pt")
    del where["drawing"]
    where["files"] = {"training.pt": where["files"].pop("training-000002.pt")}
    (place / "where.json").write_text(json.dumps(where))
    assert train(config, pack, tmp_path)[0] == (1, 3)


def test_what_was_kept_stays_until_the_next_is_whole(
    config: Config, pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(config, pack, tmp_path, gone=(1, 3), every=2)
    step, drawing, state = load_under_way(tmp_path, 1)
    assert drawing is not None

    def cut(value: dict, file: Path) -> None:
        file.write_bytes(b"half")
        raise Gone

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", cut)
        with pytest.raises(Gone):
            save_under_way(tmp_path, 1, 3, drawing, state)
    assert load_under_way(tmp_path, 1)[0] == step == 2
    save_under_way(tmp_path, 1, 4, drawing, state)
    assert {file.name for file in (tmp_path / UNDER_WAY).iterdir()} == {"training-000004.pt", "where.json"}


@pytest.mark.parametrize("epoch", [1, 2])
def test_an_epoch_goes_on_after_the_step_at_which_a_machine_was_known_to_go(
    config: Config, pack: Pack, tmp_path: Path, epoch: int
) -> None:
    assert train(config, pack, tmp_path, notice=(epoch, 2), gone=(epoch, 3))[-1] == (epoch, 3)
    step, _, state = load_under_way(tmp_path, epoch)
    assert step == 2
    assert state["schedule"]["last_epoch"] == 4 * (epoch - 1) + 2
    assert set(state) == {"model", "averaged", "optimizer", "schedule", "ranks"}
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
    step, drawing, state = load_under_way(tmp_path, 1)
    assert drawing is not None
    name, weight = next((name, value) for name, value in state["model"].items() if value.ndim == 2)
    weight += 1.0
    save_under_way(tmp_path, 1, step, drawing, state)
    train(still, pack, tmp_path)
    trained, _ = load_model(tmp_path / "epoch-0001")
    torch.testing.assert_close(trained.state_dict()[name], weight, atol=1e-6, rtol=0)


def other_rank_has_none(array: np.ndarray) -> list[np.ndarray]:
    return [array, 0 * array] if array.shape == (2,) else [array]


@pytest.mark.parametrize("what", ["damaged", "another epoch's", "not on every rank"])
def test_what_can_t_be_gone_on_with_costs_no_more_than_the_epoch(
    config: Config, pack: Pack, tmp_path: Path, what: str
) -> None:
    train(config, pack, tmp_path, notice=(1, 2), gone=(1, 3))
    ranks = Ranks(gather=other_rank_has_none) if what == "not on every rank" else None
    if what == "damaged":
        file = tmp_path / UNDER_WAY / "training-000002.pt"
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif what == "another epoch's":
        step, drawing, state = load_under_way(tmp_path, 1)
        assert drawing is not None
        save_under_way(tmp_path, 2, step, drawing, state)
    assert train(config, pack, tmp_path, ranks=ranks)[:2] == [(1, 1), (1, 2)]


def test_a_machine_is_heeded_once_and_all_ranks_are_asked_where_it_is_due() -> None:
    kept, asked = [], []
    now: set[str] = set()
    drawing = Drawing(steps=9, world=1, loaders=0, batch=4, turns=1, order=3, begun=0)

    def state(together: bool) -> dict:
        asked.append(together)
        return {}

    third: Callable[[int, int], bool] = lambda epoch, step: step % 3 == 0  # noqa: E731
    under_way = UnderWay(None, third, lambda: frozenset(now), lambda save, *told: kept.append(told))
    for step, fresh in enumerate([(), ("a",), (), ("b",), (), ("c",)], start=1):
        now.update(fresh)
        under_way.look(3, step, drawing, state)
    assert kept == [(3, 2, True), (3, 3, False), (3, 4, True), (3, 6, True)]
    assert asked == [False, True, False, True]
