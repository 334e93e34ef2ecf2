"""What a training begins with, without Ray; the real thing is in tests/integration."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from capetune.config import Config, load_preset
from capetune.datasets.packs.reader import open_pack
from capetune.errors import UserError
from capetune.events import ignore
from capetune.runs.checkpoints import FORMAT, META
from capetune.runs.history import add_to_history
from capetune.runs.home import at_work
from capetune.runs.record import Run
from capetune.service.starting import begun_with, came_to_nothing, check_same, find_source, stretched

CONFIG = load_preset("demo").with_overrides({"train.epochs": 2, "train.steps": 10})
HERE = {"data_hash": "here"}


def record(folder: Path, config: Config = CONFIG, **facts: object) -> Run:
    run = Run(folder, "train", "running")
    run.save("completed", config_hash=config.hash(), config=config.model_dump(mode="json"), **HERE, **facts)
    return run


def keep(folder: Path, epoch: int, score: float, config: Config = CONFIG, **data: object) -> None:
    data = {"pack": "p", "split": 1, **HERE, **data}
    tree = {"format": FORMAT, "schema": 1, "epoch": epoch, "metrics": {"mpck4": score}, "data": data}
    place = folder / f"epoch-{epoch:04d}"
    place.mkdir(parents=True)
    (place / META).write_text(json.dumps({**tree, "config": config.model_dump(mode="json")}))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Holds the training `mine`, whose best epoch is its first of two."""
    record(tmp_path / "mine")
    keep(tmp_path / "mine", 1, 0.5)
    keep(tmp_path / "mine", 2, 0.4)
    return tmp_path


def found(runs: Path, named: str, longer: bool = False, rank: int = 1):
    with ExitStack() as copies:
        return find_source(runs, named, rank, longer, copies)


def test_a_run_goes_on_only_with_its_own_configuration_and_data(tmp_path):
    run = record(tmp_path)
    assert check_same(run, CONFIG, HERE, None) is None
    with pytest.raises(UserError, match=r"another configuration: train\.steps was 10, not 20; leave that"):
        check_same(run, CONFIG.with_overrides({"train.steps": 20}), HERE, None)
    with pytest.raises(UserError, match="another configuration or other data; choose another --name"):
        check_same(run, CONFIG, {"data_hash": "there"}, None)


def test_a_search_is_no_training_to_go_on_with(tmp_path):
    with pytest.raises(UserError, match="was made by `capetune search`"):
        check_same(Run(tmp_path, "search", "completed", {}), CONFIG, HERE, None)


def test_a_new_run_is_anyone_s(tmp_path):
    assert check_same(Run(tmp_path, "train", "running"), CONFIG, HERE, None) is None


def test_one_that_has_ended_goes_on_to_more_epochs_and_to_no_fewer(tmp_path):
    run = record(tmp_path)
    for epoch in (1, 2):
        add_to_history(tmp_path, {"epoch": epoch})
    assert check_same(run, CONFIG.with_overrides({"train.epochs": 6}), HERE, None) == CONFIG
    assert check_same(run, CONFIG.with_overrides({"train.patience": 6}), HERE, None) == CONFIG
    with pytest.raises(UserError, match=r"has trained 2 epochs already; give more with --set train\.epochs"):
        check_same(run, CONFIG.with_overrides({"train.epochs": 1}), HERE, None)


def test_the_stretch_says_what_the_rate_was_and_becomes(tiny_pack):
    pack, longer = open_pack(tiny_pack), CONFIG.with_overrides({"train.epochs": 4, "train.warmup": 0})
    before = CONFIG.with_overrides({"train.warmup": 0})
    told = stretched("r", before, longer, 2, pack, 1)
    assert told.rate == pytest.approx(1e-3 * 0.00616, rel=1e-2)  # of the cosine's last step, 19 of 20
    assert told.becomes == pytest.approx(1e-3 * 0.5)  # half the way of 40
    assert stretched("r", before, before, 2, pack, 1) is None
    constant = {"train.schedule": "constant"}
    told = stretched("r", before.with_overrides(constant), longer.with_overrides(constant), 2, pack, 1)
    assert told.rate == told.becomes == 1e-3


def test_a_training_gives_its_best_epoch_to_begin_with_and_its_latest_to_go_on_longer(runs):
    assert found(runs, "mine").checkpoint == runs / "mine/epoch-0001"
    assert found(runs, "mine", longer=True).checkpoint == runs / "mine/epoch-0002"
    assert found(runs, str(runs / "mine/epoch-0002")).checkpoint == runs / "mine/epoch-0002"
    assert found(runs, "mine").stem == "mine-tuned"
    with pytest.raises(UserError, match=r"there is no run 'yours' in .* \(there: mine\)"):
        found(runs, "yours")


def test_the_model_is_the_source_s_and_the_rest_is_its_own_or_a_preset_s(runs, tiny_pack):
    source, pack = found(runs, "mine"), open_pack(tiny_pack)
    assert source.base(None) == CONFIG
    other = source.base("tiny")
    assert (other.model, other.data.size) == (CONFIG.model, 512)
    source.check(CONFIG.with_overrides({"train.epochs": 9, "model.dropout": 0.3, "data.split": 2}), pack)
    with pytest.raises(
        UserError, match=r"--from mine: the model is the checkpoint's, but model\.width was 128, not 64"
    ):
        source.check(CONFIG.with_overrides({"model.width": 64}), pack)


def test_another_split_of_the_same_data_is_refused(runs, tiny_pack):
    pack = open_pack(tiny_pack)
    keep(runs / "theirs", 2, 0.5, data_hash=pack.fingerprint)
    source = found(runs, str(runs / "theirs/epoch-0002"))
    with pytest.raises(UserError, match="was trained on split 1, and has seen categories that split 2 tests; give"):
        source.check(CONFIG.with_overrides({"data.split": 2}), pack)


def test_to_go_on_longer_wants_the_same_data_and_more_epochs(runs, tiny_pack):
    pack = open_pack(tiny_pack)
    with pytest.raises(UserError, match=r"trained on other data \(p\): --longer goes on with the same; --from mine"):
        found(runs, "mine", longer=True).check(CONFIG, pack)
    keep(runs / "theirs", 2, 0.5, data_hash=pack.fingerprint)
    source = found(runs, str(runs / "theirs/epoch-0002"), longer=True)
    source.check(CONFIG.with_overrides({"train.epochs": 3}), pack)
    with pytest.raises(UserError, match="is of epoch 2 already; give more"):
        source.check(CONFIG, pack)


def test_a_run_that_was_begun_with_a_checkpoint_keeps_to_it(runs):
    """Though the other run's best is another one by now."""
    tuned = record(runs / "tuned", origin=found(runs, "mine").to_json())
    keep(runs / "mine", 3, 0.9)
    with ExitStack() as copies:
        kept = begun_with(tuned, "mine", copies)
        assert kept is not None
        assert (kept.checkpoint, kept.named) == (runs / "mine/epoch-0001", "mine")
        assert begun_with(tuned, None, copies) == kept
        assert begun_with(tuned, "other", copies) is None
        keep(runs / "tuned", 1, 0.1)
        assert begun_with(tuned, None, copies) is None  # it goes on with its own
    check_same(tuned, CONFIG, HERE, kept)
    with pytest.raises(UserError, match=r"was begun from mine, not from .*epoch-0002; choose another --name"):
        check_same(tuned, CONFIG, HERE, found(runs, str(runs / "mine/epoch-0002")))
    with pytest.raises(UserError, match="was begun from nothing, not from mine"):
        check_same(record(runs / "plain"), CONFIG, HERE, kept)


def test_the_name_of_a_training_that_came_to_nothing_is_free(tmp_path):
    """It ended before its first epoch, of a mistake in its configuration, say."""
    Run(tmp_path, "train", "running").save("failed", config_hash="abc")
    assert came_to_nothing(Run(tmp_path, "train", "failed"))
    assert not came_to_nothing(Run(tmp_path, "train", "completed"))
    assert not came_to_nothing(Run(tmp_path, "search", "failed"))
    (tmp_path / "under-way").mkdir()
    assert not came_to_nothing(Run(tmp_path, "train", "interrupted"))
    (tmp_path / "under-way").rmdir()
    add_to_history(tmp_path, {"epoch": 1})
    assert not came_to_nothing(Run(tmp_path, "train", "failed"))


def test_the_name_of_one_that_is_at_work_is_not(tmp_path):
    run = Run(tmp_path, "train", "running")
    run.save("running")
    with at_work(tmp_path, ignore):
        assert not came_to_nothing(run)
    assert came_to_nothing(run)
