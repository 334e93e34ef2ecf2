"""Whether a network and its weights can be had. Imports torch only where that is to be seen: it takes seconds."""

from __future__ import annotations

from capetune.config import BackboneConfig

SURE = {"efficientnet_lite0": ("none", "imagenet"), "resnet50": ("none",)}  # with weights that are always there


def check_net(config: BackboneConfig) -> None:
    """Raises UserError as `models.nets.make_net` does."""
    if config.weights not in SURE.get(config.name, ()):
        from capetune.models.nets import make_net

        make_net(config, pretrained=True)
