"""Whether a training can be scored at all: asked before Ray starts, by whatever trains."""

from __future__ import annotations

from capetune.config import Config
from capetune.datasets.packs.reader import Pack
from capetune.errors import UserError


def check_scorable(pack: Pack, config: Config) -> None:
    """Raises UserError where the configuration's split has nothing to train on, or no validation category with as many
    instances as an episode takes; the setting that cures it is named."""
    split, settings = config.data.split, config.validation
    for part, use in (("train", "train on"), ("val", "score by")):
        if not len(pack.part(split, part)):
            raise UserError(f"{pack.address} holds no instance of split {split} {part} to {use}; pack its images too")
    largest = max(len(group) for group in pack.part(split, "val").instances.values())
    needed = settings.shots + settings.queries
    if largest >= needed:
        return
    takes = f"{needed} instances that an episode takes (supports: {settings.shots}, queries: {settings.queries}; the "
    if largest > settings.shots:
        cure = f"give --set validation.queries={largest - settings.shots}, or pack more images of it"
    elif largest > 1:
        cure = f"give --set validation.shots=1 --set validation.queries={largest - 1}, or pack more images of it"
    else:
        cure = "pack more images of it, or hold more out of training with `capetune data split --val`"
    raise UserError(f"no category of split {split} val has the {takes}largest has {largest}); {cure}")
