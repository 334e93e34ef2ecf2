from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch.nn import functional as F

from capetune.config import ModelConfig
from capetune.errors import UserError
from capetune.models.backbone import Backbone, places

Make = Callable[..., ModelConfig]


@pytest.fixture(scope="module")
def pretrained(make_config: Make) -> Backbone:
    torch.manual_seed(0)
    return Backbone(make_config(backbone={"weights": "imagenet"})).eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    smooth = F.interpolate(torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0)), 64, mode="bicubic")
    return (smooth.clamp(0, 1) * 255).to(torch.uint8)


def lite0(state: dict[str, torch.Tensor], x: torch.Tensor, blocks: int) -> torch.Tensor:
    """EfficientNet-Lite0 written down once more, from the names of the package: stem and the first blocks."""

    def conv(x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
        weight = state[f"{name}.weight"]
        size, kernel = x.shape[-1], weight.shape[-1]
        pad = max((-(-size // stride) - 1) * stride + kernel - size, 0)  # TensorFlow's "same"
        x = F.pad(x, [pad // 2, pad - pad // 2] * 2)
        return F.conv2d(x, weight, stride=stride, groups=x.shape[1] if weight.shape[1] == 1 else 1)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, weight, bias = (state[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, weight, bias, eps=1e-3)

    strides = {1: 2, 3: 2, 5: 2, 11: 2}
    x = F.relu6(norm(conv(x, "_conv_stem", 2), "_bn0"))
    for i in range(blocks):
        before, name = x, f"_blocks.{i}"
        if f"{name}._expand_conv.weight" in state:
            x = F.relu6(norm(conv(x, f"{name}._expand_conv"), f"{name}._bn0"))
        x = F.relu6(norm(conv(x, f"{name}._depthwise_conv", strides.get(i, 1)), f"{name}._bn1"))
        x = norm(conv(x, f"{name}._project_conv"), f"{name}._bn2")
        if x.shape == before.shape:
            x = x + before
    return x


@pytest.mark.parametrize(("stride", "blocks"), [(8, 5), (16, 11), (32, 16)])
def test_lite0_features_equal_an_independent_computation(
    make_config: Make, raw: dict, images: torch.Tensor, stride: int, blocks: int
) -> None:
    backbone = Backbone(make_config(backbone={"weights": "imagenet", "stride": stride})).eval()
    with torch.no_grad():
        (got,) = backbone.features(images)
        wanted = lite0(raw, images.float() / 127.5 - 1, blocks)
    assert wanted.std() > 0.1
    torch.testing.assert_close(got, wanted, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet50"])
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_maps_have_a_cell_a_stride(make_config: Make, name: str, stride: int) -> None:
    backbone = Backbone(make_config(backbone={"name": name, "stride": stride})).eval()
    with torch.no_grad():
        (out,) = backbone(torch.zeros(1, 3, 64, 96, dtype=torch.uint8))
    assert out.shape == (1, 32, 64 // stride, 96 // stride)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet50", "mobilenetv3_small_050"])
def test_a_pyramid_is_the_three_maps_together(make_config: Make, name: str) -> None:
    torch.manual_seed(0)
    backbone = Backbone(make_config(backbone={"name": name, "stride": "pyramid"})).eval()
    images = torch.randint(0, 255, (1, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        maps, own = backbone(images), backbone.features(images)
    assert [seen.shape for seen in maps] == [(1, 32, 64 // stride, 96 // stride) for stride in (8, 16, 32)]
    for stride, seen in zip((8, 16, 32), own, strict=True):
        single = Backbone(make_config(backbone={"name": name, "stride": stride})).eval()
        single.net.load_state_dict(backbone.net.state_dict(), strict=False)
        with torch.no_grad():
            torch.testing.assert_close(single.features(images)[0], seen)


@pytest.mark.parametrize(
    ("name", "frozen", "learns"),
    [
        ("resnet18", 2, ["layer2", "layer3"]),  # DETR's: the stem and the first layer
        ("mobilenetv3_small_050", 2, ["blocks.1", "blocks.2", "blocks.3"]),
        ("convnext_atto", 1, ["stages_1", "stages_2"]),
        ("hrnet_w18_small", 1, ["transition2", "stage3"]),
        ("vit_tiny_patch16_224", 0, ["model"]),
        ("swin_tiny_patch4_window7_224", 2, ["layers_2"]),
    ],
)
def test_any_timm_network_serves(make_config: Make, name: str, frozen: int, learns: list[str]) -> None:
    """Its stages are frozen one by one; whatever is to be trained gets a gradient, or DDP would wait for it."""
    backbone = Backbone(make_config(backbone={"name": name, "stride": 16, "frozen": frozen})).train()
    (out,) = backbone(torch.randint(0, 255, (2, 3, 224, 224), dtype=torch.uint8))
    assert out.shape == (2, 32, 14, 14)
    out.square().sum().backward()
    for key, weight in backbone.net.named_parameters():
        assert weight.requires_grad == (weight.grad is not None), key
    row = [".".join(key.split(".")[1:3]) for key, weight in backbone.net.named_parameters() if weight.requires_grad]
    assert list(dict.fromkeys(key if key.startswith("blocks") else key.split(".")[0] for key in row)) == learns
    mean = 0.5 if name.startswith("vit") else 0.485
    assert backbone.mean.flatten()[0] / 255 == pytest.approx(mean)


def test_a_vits_map_is_its_last_blocks(make_config: Make) -> None:
    backbone = Backbone(make_config(backbone={"name": "vit_tiny_patch16_224", "stride": 16}))
    assert len(backbone.net.net.model.blocks) == 12


@pytest.mark.parametrize(
    ("backbone", "words"),
    [
        ({"name": "resnet51"}, r"no network 'resnet51'; did you mean resnet.* or resnet50.*\?"),
        ({"name": "vgg11", "stride": "pyramid"}, None),
        ({"name": "vit_tiny_patch16_224", "stride": 8}, r"has no map of stride 8, but \[16\]"),
        ({"name": "convnext_atto", "weights": "gone.pth"}, r"no weights file gone\.pth"),
    ],
)
def test_networks_that_cannot_serve_are_refused(make_config: Make, backbone: dict, words: str | None) -> None:
    if words is None:
        assert len(Backbone(make_config(backbone=backbone)).project) == 3
        return
    with pytest.raises(UserError, match=words):
        Backbone(make_config(backbone=backbone))


def test_a_timm_networks_weights_load_from_a_file(make_config: Make, tmp_path: Path) -> None:
    torch.manual_seed(5)
    torch.save(timm.create_model("mobilenetv3_small_050").state_dict(), tmp_path / "net.pth")
    keys = {"name": "mobilenetv3_small_050", "stride": 16}
    first, second = (Backbone(make_config(backbone=keys | {"weights": str(tmp_path / "net.pth")})) for _ in range(2))
    for name, value in first.net.state_dict().items():
        assert torch.equal(value, second.net.state_dict()[name])
    other = Backbone(make_config(backbone=keys))
    assert not torch.equal(next(other.net.parameters()), next(first.net.parameters()))


@pytest.mark.parametrize(("name", "stages"), [("efficientnet_lite0", 6), ("resnet50", 4)])
@pytest.mark.parametrize("frozen", [0, 2, "all"])
def test_the_first_stages_are_frozen_and_the_others_learn(
    make_config: Make, images: torch.Tensor, name: str, stages: int, frozen: int | str
) -> None:
    backbone = Backbone(make_config(backbone={"name": name, "frozen": frozen})).train()
    backbone(images)[0].square().sum().backward()
    learns = [any(p.grad is not None for p in part.parameters()) for part in backbone.net.parts()]
    count = stages if frozen == "all" else frozen
    assert learns == [False] * count + [True] * (stages - count)
    assert [part.training for part in backbone.net.parts()] == learns  # and their BatchNorm stays as it is


def test_no_stage_beyond_the_wanted_one_is_kept(make_config: Make) -> None:
    backbone = Backbone(make_config(backbone={"stride": 8})).train()
    backbone(torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8))[0].square().sum().backward()
    assert all(weight.grad is not None for weight in backbone.parameters())


def test_resnet_is_normalised_as_it_was_trained(make_config: Make) -> None:
    backbone = Backbone(make_config(backbone={"name": "resnet50", "stride": 8})).eval()
    net = torchvision.models.resnet50(weights=None).eval()
    first = [net.conv1, net.bn1, net.relu, net.maxpool, net.layer1, net.layer2]
    wanted = torch.nn.Sequential(*first).state_dict()
    torch.nn.Sequential(*first).load_state_dict(dict(zip(wanted, backbone.net.state_dict().values(), strict=True)))
    images = torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8)
    x = torchvision.transforms.functional.normalize(images / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        torch.testing.assert_close(backbone.features(images)[0], torch.nn.Sequential(*first)(x), atol=1e-4, rtol=1e-4)


def test_a_frozen_backbone_learns_nothing_and_its_projection_does(make_config: Make, images: torch.Tensor) -> None:
    backbone = Backbone(make_config(backbone={"frozen": "all"})).train()
    before = {key: value.clone() for key, value in backbone.net.state_dict().items()}
    backbone(images)[0].square().sum().backward()
    assert all(not p.requires_grad and p.grad is None for p in backbone.net.parameters())
    assert backbone.project[0].weight.grad.any()
    for key, value in backbone.net.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_a_trained_pretrained_backbone_keeps_imagenets_statistics(make_config: Make, images: torch.Tensor) -> None:
    backbone = Backbone(make_config(backbone={"weights": "imagenet"})).train()
    before = {key: value.clone() for key, value in backbone.net.named_buffers()}
    backbone(images)[0].square().sum().backward()
    assert all(p.grad is not None for p in backbone.net.parameters())
    for key, value in backbone.net.named_buffers():
        assert torch.equal(value, before[key]), key


def test_an_untrained_backbone_gathers_statistics(make_config: Make, images: torch.Tensor) -> None:
    backbone = Backbone(make_config()).train()
    before = backbone.net.stages[0][1].running_mean.clone()
    backbone(images)
    assert not torch.equal(backbone.net.stages[0][1].running_mean, before)


def test_pretrained_features_tell_images_apart(pretrained: Backbone, images: torch.Tensor) -> None:
    with torch.no_grad():
        first, second = pretrained(images)[0]
    assert (first - second).std() > 0.1 * first.std()


def test_same_picture_at_another_place_of_the_map_reads_differently(pretrained: Backbone) -> None:
    with torch.no_grad():
        flat = pretrained.embed((torch.zeros(1, 112, 4, 4),))[0][0]
    assert len(torch.unique(flat.flatten(1).T.round(decimals=4), dim=0)) == 16


@pytest.mark.parametrize("width", [16, 18, 22, 256])
def test_places_fill_any_even_width_and_put_x_first(width: int) -> None:
    code = places(width, 3, 5, torch.device("cpu"))
    assert code.shape == (1, width, 3, 5)
    half = width // 2
    assert torch.equal(code[:, :half], code[:, :half, :1].expand(-1, -1, 3, -1))
    assert torch.equal(code[:, half:], code[:, half:, :, :1].expand(-1, -1, -1, 5))
