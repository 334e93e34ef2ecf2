"""Query image encoder: an ImageNet backbone, its feature map projected to the model's width (paper §5.4)."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn

from capetune.config import ModelConfig
from capetune.models.attention import sinusoid
from capetune.models.compiled import compiled
from capetune.models.folding import fold
from capetune.models.memory import keep_freed_memory
from capetune.models.nets import make_net

Maps = tuple[Tensor, ...]  # one a stride, finest first


class Backbone(nn.Module):
    """Images to maps of `width` channels, one a stride, with a sinusoidal embedding of each cell's place added.

    Deformable attention reads values only: without the place in them the decoder couldn't tell where it read.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: ModelConfig, pretrained: bool = True) -> None:
        """pretrained=False skips loading weights: for a model that a checkpoint is about to fill.

        Raises UserError as `make_net` does.
        """
        super().__init__()
        keep_freed_memory()
        self.config = config.backbone
        self.compiled = False
        self.net = make_net(self.config, pretrained)
        self.net.to(memory_format=torch.channels_last)
        fold(self.net)
        parts = self.net.parts()
        self.frozen = parts if self.config.frozen == "all" else parts[: self.config.frozen]
        for part in self.frozen:
            part.requires_grad_(False)
        self.project = nn.ModuleList(nn.Conv2d(channels, config.width, 1) for channels in self.net.channels)
        # Which map a value was read from; with a single one there is nothing to tell.
        levels = len(self.net.channels)
        self.level = nn.Parameter(torch.randn(levels, config.width) * 0.02) if levels > 1 else None
        mean, deviation = self.net.normal
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(1, 3, 1, 1) * 255, persistent=False)

    def train(self, mode: bool = True) -> Backbone:
        """BatchNorm keeps ImageNet's statistics (DETR's convention): batches here are too small to replace them."""
        super().train(mode)
        for part in self.net.parts() if self.config.weights != "none" else self.frozen:
            part.eval()
        return self

    def features(self, images: Tensor) -> Maps:
        """images: uint8 (B, 3, S, S) RGB. Returns the network's own maps, float32 (B, C, S / stride, S / stride)."""
        x = ((images.float() - self.mean) / self.deviation).contiguous(memory_format=torch.channels_last)
        # bfloat16 stays in here: it would round coordinates to 1/256 of the crop, and gains nothing in the decoder.
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self._half(x.device)):
            seen = compiled(_through, self.compiled)(self.net, x)
        return tuple(maps.float() for maps in seen)

    def _half(self, device: torch.device) -> bool:
        if self.config.precision == "auto":
            return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return self.config.precision == "bfloat16"

    def forward(self, images: Tensor) -> Maps:
        """images: uint8 (B, 3, S, S) RGB. Returns for each stride (B, width, h, w)."""
        return self.embed(self.features(images))

    def embed(self, features: Maps) -> Maps:
        """features: from `features`, or in float16. Returns (B, width, h, w) a stride: projected, with places added."""
        maps = []
        for i, (project, seen) in enumerate(zip(self.project, features, strict=True)):
            x = project(seen.float())
            x = x + places(x.shape[1], x.shape[2], x.shape[3], x.device)
            maps.append(x if self.level is None else x + self.level[i].view(1, -1, 1, 1))
        return tuple(maps)


def _through(net: nn.Module, images: Tensor) -> Maps:
    return cast(Maps, net(images))


def fast_precision() -> Literal["auto", "bfloat16"]:
    """bfloat16 where the CPU computes in it, which more than halves a frozen backbone's time; else what is usual."""
    return "bfloat16" if torch.cpu._is_avx512_bf16_supported() else "auto"


def places(width: int, height: int, wide: int, device: torch.device) -> Tensor:
    """Sinusoids of each cell's centre, half the channels for x, half for y: (1, width, height, wide).

    Centres are in [0, 1] whatever the map's size, as in DETR's normalised encoding; the fastest sinusoid turns 8
    times across the map, the slowest about once in 8 maps.
    """
    across = sinusoid((torch.arange(wide, device=device) + 0.5) / wide * 2 * torch.pi * 8, width // 2, 64.0)
    down = sinusoid((torch.arange(height, device=device) + 0.5) / height * 2 * torch.pi * 8, width // 2, 64.0)
    both = [across[None].expand(height, -1, -1), down[:, None].expand(-1, wide, -1)]
    return torch.cat(both, dim=-1).permute(2, 0, 1).unsqueeze(0)
