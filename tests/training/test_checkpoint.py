from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from capetune.config import Config
from capetune.errors import UserError
from capetune.models.estimator import PoseEstimator
from capetune.pose import Batch
from capetune.runs.checkpoints import CheckpointMeta, read_meta
from capetune.training.checkpoint import has_pretrained_backbone, load_model, load_training, save_checkpoint

KEYS = {
    "model.sequence": "point",
    "model.width": 32,
    "model.heads": 4,
    "model.vocabulary": 16,
    "model.support.layers": 1,
    "model.decoder.layers": 1,
    "model.backbone.name": "efficientnet_lite0",
    "model.backbone.weights": "none",
    "data.shots": [1, 5],
    "train.learning_rate": 3e-4,
}
DATA = {"data": "synthetic", "split": 1, "missing_categories": {"train": ["α"]}}


@pytest.fixture(scope="module")
def config() -> Config:
    return Config().with_overrides(KEYS)


@pytest.fixture(scope="module")
def model(config: Config) -> PoseEstimator:
    torch.manual_seed(0)
    return PoseEstimator(config.model).eval()


@pytest.fixture
def folder(config: Config, model: PoseEstimator, tmp_path: Path) -> Path:
    folder = tmp_path / "trial" / "checkpoint"
    meta = CheckpointMeta(config, 3, {"mpck4": 0.25, "val_loss": 1.5}, DATA)
    save_checkpoint(folder, model, meta, {"optimizer": {"a": torch.ones(2)}, "schedule": {"last_epoch": 7}})
    return folder


@pytest.fixture(scope="module")
def batch() -> Batch:
    torch.manual_seed(1)
    real, pose = torch.ones(2, 4, dtype=torch.bool), torch.rand(2, 4, 2)
    return Batch(
        images=torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8),
        template=pose,
        template_known=real,
        adjacency=torch.zeros(2, 4, 4, dtype=torch.bool),
        joints=real,
        target=pose,
        visible=real,
        to_source=torch.zeros(2, 2, 3, dtype=torch.float64),
        side=torch.ones(2, dtype=torch.float64),
        ids=torch.arange(2),
    )


def refused(do: Callable[[], object], *words: str) -> None:
    with pytest.raises(UserError) as caught:
        do()
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text


def test_a_loaded_model_predicts_the_same(folder: Path, model: PoseEstimator, batch: Batch) -> None:
    loaded, _ = load_model(folder)
    assert not loaded.training
    wanted, got = model.predict(batch), loaded.predict(batch)
    assert torch.equal(got.xy, wanted.xy)
    assert torch.equal(got.score, wanted.score)
    assert {k: v.dtype for k, v in loaded.state_dict().items()} == {k: v.dtype for k, v in model.state_dict().items()}


def test_meta_and_training_state_come_back_whole(folder: Path, config: Config) -> None:
    meta = read_meta(folder)
    assert meta == CheckpointMeta(config, 3, {"mpck4": 0.25, "val_loss": 1.5}, DATA)
    assert meta.score == 0.25
    training = load_training(folder)
    assert training["schedule"] == {"last_epoch": 7}
    assert torch.equal(training["optimizer"]["a"], torch.ones(2))


def test_the_whole_configuration_is_stored_for_people_too(folder: Path, config: Config) -> None:
    tree = json.loads((folder / "meta.json").read_text())
    assert tree["config"] == config.model_dump(mode="json")
    assert tree["config_hash"] == config.hash()
    assert {"format", "schema", "capetune", "epoch", "metrics", "data"} <= set(tree)


def test_weights_files_of_the_backbone_arent_needed_again(config: Config, tmp_path: Path) -> None:
    """A checkpoint holds its backbone: it loads where the file or the network it started from is gone."""
    away = config.with_overrides({"model.backbone.weights": "gone/lite0.pth"})
    model = PoseEstimator(away.model, pretrained=False)
    save_checkpoint(tmp_path, model, CheckpointMeta(away, 1, {}, {}), {})
    assert load_model(tmp_path)[1].config == away


def test_missing_or_damaged_weights_are_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-1000])
    cut = f"model.safetensors is damaged: it has {size - 1000} bytes of {size}; take another checkpoint"
    refused(lambda: load_model(folder), cut)
    file.write_bytes(b"not at all")
    refused(lambda: load_model(folder), "model.safetensors is damaged: it has 10 bytes")
    file.unlink()
    refused(lambda: load_model(folder), "model.safetensors can't be read")


@pytest.mark.parametrize(("name", "load"), [("model.safetensors", load_model), ("training.pt", load_training)])
def test_a_flipped_bit_is_noticed(folder: Path, name: str, load: Callable[[Path], object]) -> None:
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    refused(lambda: load(folder), f"{folder / name} is damaged: it isn't what was saved (sha256); ")


def forget_marks(folder: Path) -> None:
    """As checkpoints were before files had marks."""
    tree = json.loads((folder / "meta.json").read_text())
    del tree["files"]
    (folder / "meta.json").write_text(json.dumps(tree))


def test_a_checkpoint_of_before_there_were_marks_loads(folder: Path) -> None:
    forget_marks(folder)
    load_model(folder)
    assert load_training(folder)["schedule"] == {"last_epoch": 7}
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    refused(lambda: load_model(folder), "model.safetensors can't be read")


@pytest.mark.parametrize("marks", [3, {"model.safetensors": 3}, {"model.safetensors": {"size": "1"}}])
def test_odd_marks_are_said(folder: Path, marks: object) -> None:
    tree = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(tree | {"files": marks}))
    refused(lambda: load_model(folder), f"{folder}/meta.json is odd: files")


def test_weights_of_another_model_are_refused(folder: Path, config: Config) -> None:
    tree = json.loads((folder / "meta.json").read_text())
    tree["config"] = config.with_overrides({"model.decoder.layers": 2}).model_dump(mode="json")
    (folder / "meta.json").write_text(json.dumps(tree))
    refused(lambda: load_model(folder), "doesn't fit the configuration")


def test_missing_or_damaged_training_state_is_refused_and_evaluation_doesnt_need_it(folder: Path) -> None:
    file = folder / "training.pt"
    file.write_bytes(file.read_bytes()[:100])
    refused(lambda: load_training(folder), "training.pt is damaged")
    file.write_text("plain text")
    refused(lambda: load_training(folder), "training.pt is damaged")
    file.unlink()
    refused(lambda: load_training(folder), "training.pt can't be read")
    load_model(folder)


def test_training_state_runs_no_code(folder: Path, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "hacked",)

    forget_marks(folder)
    torch.save(Attack(), folder / "training.pt")
    refused(lambda: load_training(folder), "training.pt is damaged")
    assert not (tmp_path / "hacked").exists()


def test_while_a_checkpoint_is_written_over_the_folder_is_none(
    folder: Path, config: Config, model: PoseEstimator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(folder, model, CheckpointMeta(config, 4, {}, {}), {})
    refused(lambda: read_meta(folder), "not a capetune checkpoint")


def test_a_backbone_that_has_learnt_is_told_from_the_pretrained_one(config, tmp_path):
    config = config.with_overrides({"model.backbone.weights": "imagenet"})
    model = PoseEstimator(config.model)
    save_checkpoint(tmp_path, model, CheckpointMeta(config, 1, {}, {}), {})
    assert has_pretrained_backbone(tmp_path, config.model)
    with torch.no_grad():
        next(model.backbone.net.parameters()).add_(1e-3)
    save_checkpoint(tmp_path, model, CheckpointMeta(config, 1, {}, {}), {})
    assert not has_pretrained_backbone(tmp_path, config.model)
