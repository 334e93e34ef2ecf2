from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from capetune.config import ModelConfig
from capetune.models.backbone import Backbone
from capetune.models.folding import fold, settle

NETS = ["efficientnet_lite0", "resnet50", "mobilenetv3_small_050", "resnet18", "hrnet_w18_small", "densenet121"]


def used(net: nn.Module) -> nn.Module:
    """With statistics that make a difference."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return net


def plainly(net: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """What the same weights give when nothing stands in for a `forward`."""
    plain = copy.deepcopy(net)
    for module in plain.modules():
        module.__dict__.pop("forward", None)
    with torch.no_grad():
        return plain(x)


def same(net: nn.Module, x: torch.Tensor) -> None:
    with torch.no_grad():
        got = net(x)
    for mine, wanted in zip(got, plainly(net, x), strict=True):
        torch.testing.assert_close(mine, wanted, atol=1e-4 * wanted.abs().max().item(), rtol=1e-4)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def make(make_config: Callable[..., ModelConfig]) -> Callable[..., Backbone]:
    def make(name: str = "efficientnet_lite0", frozen: int | str = 0, **more: object) -> Backbone:
        torch.manual_seed(0)
        backbone = Backbone(make_config(backbone={"name": name, "frozen": frozen, **more}))
        used(backbone.net)
        return backbone.eval()

    return make


def norms_run(net: nn.Module, x: torch.Tensor) -> int:
    """How many BatchNorms are computed in a forward pass."""
    ran = []
    plain = F.batch_norm

    def counting(*arguments: object, **named: object) -> torch.Tensor:
        ran.append(1)
        return plain(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "batch_norm", counting)
        net(x)
    return len(ran)


@pytest.mark.parametrize("name", NETS)
def test_a_folded_network_gives_the_same_maps(make: Callable[..., Backbone], x: torch.Tensor, name: str) -> None:
    backbone = make(name)
    same(backbone.net, x)
    with torch.no_grad():
        # DenseNet's norms stand before their convolutions, but for some.
        assert norms_run(backbone.net, x) == 0 or name == "densenet121"


@pytest.mark.parametrize("frozen", [0, 2, "all"])
def test_frozen_stages_fold_in_training_and_those_that_learn_do_not(
    make: Callable[..., Backbone], x: torch.Tensor, frozen: int | str
) -> None:
    backbone = make(frozen=frozen).train()
    kept = sum(isinstance(module, nn.BatchNorm2d) for part in backbone.frozen for module in part.modules())
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in backbone.net.modules())
    assert norms_run(backbone.net, x) == norms - kept
    assert (kept == 0, kept == norms) == (frozen == 0, frozen == "all")


@pytest.mark.parametrize("frozen", [0, 2])
def test_gradients_reach_both_through_the_folded_weights(
    make: Callable[..., Backbone], x: torch.Tensor, frozen: int
) -> None:
    """No norm is computed where the statistics are kept, as a pretrained network's are in training."""
    net = make("resnet50", frozen=frozen).net.double()
    plain = copy.deepcopy(net)
    for module in plain.modules():
        module.__dict__.pop("forward", None)
    for each in (net, plain):
        sum(maps.square().mean() for maps in each(x.double())).backward()
    assert norms_run(net, x.double()) == 0
    learning = [weight for weight in net.parameters() if weight.requires_grad]
    assert learning
    for mine, its in zip(net.parameters(), plain.parameters(), strict=True):
        assert (mine.grad is None) == (its.grad is None)
        if mine.grad is not None:
            torch.testing.assert_close(mine.grad, its.grad, rtol=1e-6, atol=1e-9)


def test_weights_keep_their_names(make: Callable[..., Backbone], x: torch.Tensor) -> None:
    backbone = make(frozen="all")
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    with torch.no_grad():
        backbone.net(x)
    assert list(backbone.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert not any("made" in name or "both" in name for name in before)


def test_weights_loaded_later_are_those_that_count(make: Callable[..., Backbone], x: torch.Tensor) -> None:
    backbone, other = make(frozen="all"), make(frozen="all")
    with torch.no_grad():
        first = backbone.net(x)[0]
        for weight in other.net.parameters():
            weight.mul_(1.1)
    backbone.load_state_dict(other.state_dict())
    same(backbone.net, x)
    with torch.no_grad():
        assert not torch.allclose(backbone.net(x)[0], first)


def test_a_copy_goes_its_own_way(make: Callable[..., Backbone], x: torch.Tensor) -> None:
    backbone = make(frozen="all")
    with torch.no_grad():
        before = backbone.net(x)[0]
        copied = copy.deepcopy(backbone)
        for weight in copied.net.parameters():
            weight.mul_(1.1)
        assert torch.equal(backbone.net(x)[0], before)
    same(copied.net, x)
    again = pickle.loads(pickle.dumps(backbone))
    same(again.net, x)


def test_an_averaged_network_follows(make: Callable[..., Backbone], x: torch.Tensor) -> None:
    backbone = make()
    averaged = AveragedModel(backbone, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    for _ in range(3):
        same(averaged.module.net, x)
        with torch.no_grad():
            for weight in backbone.net.parameters():
                weight.mul_(1.1)
        averaged.update_parameters(backbone)
    same(averaged.module.net, x)


@pytest.mark.parametrize("fused", [True, False])
def test_a_training_step_is_seen(make: Callable[..., Backbone], x: torch.Tensor, fused: bool) -> None:
    """A fused optimiser's steps leave no trace in the tensors' versions."""
    backbone = make()
    optimizer = torch.optim.AdamW(backbone.net.parameters(), lr=1e-2, fused=fused)
    for _ in range(2):
        same(backbone.net, x)
        optimizer.zero_grad()
        backbone.net(x)[0].square().mean().backward()
        optimizer.step()
    same(backbone.net, x)


def test_batch_statistics_are_never_folded(make: Callable[..., Backbone], x: torch.Tensor) -> None:
    net = make().net.train()
    with torch.no_grad():
        wanted = plainly(net, x)[0]
        torch.testing.assert_close(net(x)[0], wanted)


def test_prediction_mode_leaves_a_network_that_can_be_trained(make: Callable[..., Backbone], x: torch.Tensor) -> None:
    backbone = make(frozen=2)
    with torch.inference_mode():
        backbone.net(x)
    backbone.train().net(x)[0].square().mean().backward()
    assert all((p.grad is not None) == p.requires_grad for p in backbone.net.parameters())


class Branching(nn.Module):
    """The convolution's outcome goes past the norm as well."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        seen = self.conv(x)
        return [seen + self.norm(seen)]


class Twice(Branching):
    """One norm after two calls of a convolution."""

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [self.norm(self.conv(x)), self.norm(self.conv(x * 2))]


class Standardised(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weight / self.weight.std(), self.bias)


class Own(Branching):
    """A convolution that makes something else of its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = Standardised(3, 4, 3)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [self.norm(self.conv(x))]


class Wilful(Own):
    """Its course hangs on the pixels."""

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return super().forward(x) if x.mean() > 0 else [x]


@pytest.mark.parametrize("kind", [Branching, Twice, Own, Wilful])
def test_what_can_not_be_folded_is_left_alone(kind: type[nn.Module], x: torch.Tensor) -> None:
    net = used(kind()).eval()
    assert fold(net) == []
    same(net, x)


def test_settled_convolutions_hold_their_norm_and_give_the_same(make_model, make_batch):
    model, images = make_model(), make_batch(3).images
    net = model.backbone.net
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    with torch.no_grad():
        (wanted,) = model.backbone(images)
        settle(net)
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.fill_(torch.nan)  # read no more
        (found,) = model.backbone(images)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
