"""The paper's model on random pixels, and its floor: a plain ResNet-50 on the same batch."""

from __future__ import annotations

import atexit
import tempfile
from functools import cache
from pathlib import Path

import torch
import torchvision

from capetune.config import Config, load_config
from capetune.pose import Batch


def paper_config(settings: list[str] | None = None) -> Config:
    """Untrained: no weights can be downloaded here, and speed doesn't depend on their values."""
    return load_config("paper", None, ["model.backbone.weights=none", *(settings or [])])


@cache
def weights_file() -> str:
    """A file of ResNet-50's weights, random ones, which goes with the process.

    With such a file the backbone is a pretrained one: its BatchNorm keeps its statistics, here those of noise.
    """
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    net = resnet50().train()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net(torch.randn(4, 3, 128, 128))
    torch.save(net.state_dict(), Path(folder.name) / "resnet50.pth")
    return str(Path(folder.name) / "resnet50.pth")


def random_batch(size: int, count: int, keypoints: int = 17) -> Batch:
    """A batch of noise: a chain of `keypoints` keypoints at random places."""
    draw = torch.Generator().manual_seed(0)
    chain = torch.zeros(keypoints, keypoints, dtype=torch.bool)
    chain[torch.arange(keypoints - 1), torch.arange(1, keypoints)] = True
    real = torch.ones(count, keypoints, dtype=torch.bool)
    return Batch(
        images=torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=draw),
        template=torch.rand(count, keypoints, 2, generator=draw),
        template_known=real,
        adjacency=(chain | chain.T).expand(count, -1, -1),
        joints=real,
        target=torch.rand(count, keypoints, 2, generator=draw),
        visible=real,
        to_source=torch.zeros(count, 2, 3, dtype=torch.float64),
        side=torch.ones(count, dtype=torch.float64),
        ids=torch.arange(count),
    )


def resnet50() -> torch.nn.Module:
    """The floor, channels last as ours."""
    return torchvision.models.resnet50(weights=None).to(memory_format=torch.channels_last)
