"""BatchNorm that keeps its statistics, folded into the convolution before it.

It is one factor and one shift a channel, which the convolution can take over: a third of EfficientNet-Lite0's time on a
CPU goes without it, and where the two are trained, gradients reach both through the folded weights instead of through
maps, which was a quarter of a ResNet-50's step on a GPU. The weights themselves stay as they are: checkpoints, copies
and averages know nothing of this.
"""

from __future__ import annotations

import copy
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


class Folded:
    """A convolution and the BatchNorm that alone reads it; stands in for the `forward` of both.

    It folds where BatchNorm keeps its statistics and that is faster (`_apart`). Else both do what they always do.
    """

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        self.conv = conv
        self.norm = norm
        self.made: tuple[list[tuple[int, int]], nn.Conv2d] | None = None
        self.settled = False
        # As attributes of the instances, where deepcopy and pickle find and carry them.
        conv.forward = self.convolve  # type: ignore[assignment, method-assign]
        norm.forward = self.normalise  # type: ignore[assignment, method-assign]

    def convolve(self, x: Tensor) -> Tensor:
        """In place of the convolution's `forward`."""
        if self.settled:
            return type(self.conv).forward(self.conv, x)
        learns = self._learns()
        if learns and not torch.compiler.is_compiling():
            # An optimiser's step is about to follow, and a fused one leaves no trace in `_version`.
            self.made = None
        if self._apart(x):
            return type(self.conv).forward(self.conv, x)
        if not learns:
            return type(self.conv).forward(self._both(), x)
        factor, shift = self._factor_and_shift()
        return self.conv._conv_forward(x, self.conv.weight * factor.view(-1, 1, 1, 1), shift)

    def normalise(self, x: Tensor) -> Tensor:
        """In place of BatchNorm's `forward`. x: what `convolve` gave."""
        if not self.settled and self._apart(x):
            return type(self.norm).forward(self.norm, x)
        norm: Any = self.norm
        return cast(Tensor, norm.act(norm.drop(x))) if hasattr(norm, "act") else x  # timm's has its activation in it

    def settle(self) -> None:
        """Write the folded weights over the convolution's own, for good: what is exported has no BatchNorm."""
        both = self._fold()
        self.conv.weight, self.conv.bias, self.settled = both.weight, both.bias, True

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "made": None}  # a copy has tensors of its own

    def _learns(self) -> bool:
        weights = (self.conv.weight, self.conv.bias, self.norm.weight, self.norm.bias)
        return torch.is_grad_enabled() and any(weight is not None and weight.requires_grad for weight in weights)

    def _apart(self, x: Tensor) -> bool:
        """Whether both do what they always do. Without gradients a GPU's BatchNorm takes less time than the shift that
        a convolution adds, and a compiler puts it into the next kernel by itself."""
        if self.norm.training:
            return True
        if self._learns():
            return type(self.conv) is not nn.Conv2d or self.norm.weight is None
        return x.is_cuda or torch.compiler.is_compiling()

    def _factor_and_shift(self) -> tuple[Tensor, Tensor]:
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        factor = norm.weight * (norm.running_var + norm.eps).rsqrt()
        before = norm.running_mean if self.conv.bias is None else norm.running_mean - self.conv.bias
        return factor, norm.bias - before * factor

    def _both(self) -> nn.Conv2d:
        """The convolution that does the work of both, made anew where any of their tensors was moved or written to."""
        conv, norm = self.conv, self.norm
        own = (conv.weight, conv.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var)
        now = [(tensor.data_ptr(), tensor._version) for tensor in own if tensor is not None]
        if self.made is None or self.made[0] != now:
            self.made = (now, self._fold())
        return self.made[1]

    def _fold(self) -> nn.Conv2d:
        conv, norm = self.conv, self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        both = copy.copy(conv)
        both._parameters = dict(conv._parameters)
        with torch.inference_mode(False), torch.no_grad():
            weight, bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )
        both.weight, both.bias = weight.requires_grad_(False), bias.requires_grad_(False)
        return both


def fold(net: nn.Module) -> list[Folded]:
    """Let each BatchNorm of `net` that is the only reader of a convolution fold with it; its weights keep their names.

    Returns the pairs: none where the network's course can't be told without running it.
    """
    return [Folded(conv, norm) for conv, norm in _pairs(net)]


def settle(net: nn.Module) -> None:
    """`Folded.settle` for all pairs of `net`, which can't be trained or saved as a checkpoint any more."""
    for module in net.modules():
        folded = getattr(module.__dict__.get("forward"), "__self__", None)
        if isinstance(folded, Folded) and folded.conv is module:
            folded.settle()


def _kinds() -> tuple[tuple[type, ...], tuple[type, ...]]:
    """The convolutions and norms that fold; of another subclass nobody knows what it makes of its weights. timm's are
    among them where a network of timm's can be: where it is imported."""
    timm = sys.modules.get("timm.layers")
    if timm is None:
        return (nn.Conv2d,), (nn.BatchNorm2d,)
    return (nn.Conv2d, timm.Conv2dSame), (nn.BatchNorm2d, timm.BatchNormAct2d)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, sum(_kinds(), ())) or super().is_leaf_module(module, name)


def _pairs(net: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    try:
        graph = _Tracer().trace(net)
    except Exception:  # whatever a network's own code makes of a proxy
        return
    calls = [node for node in graph.nodes if node.op == "call_module"]
    convolutions, norms = _kinds()
    times = Counter(node.target for node in calls)
    for node in calls:
        before = node.args[0] if node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        conv, norm = net.get_submodule(str(before.target)), net.get_submodule(str(node.target))
        once = times[before.target] == times[node.target] == 1
        if once and type(conv) in convolutions and type(norm) in norms and norm.running_mean is not None:
            yield cast(nn.Conv2d, conv), cast(nn.BatchNorm2d, norm)
