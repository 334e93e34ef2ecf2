"""What a result must say of where it comes from: its data, its protocol, the machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any

from capetune.config import Config
from capetune.datasets.packs.reader import Pack
from capetune.evaluation.protocol import in_episodes

PACKAGES = ("capetune", "torch", "ray", "optuna")


def describe_data(pack: Pack, split: int) -> dict[str, Any]:
    """What a result must say about its data: which pack, real or synthetic, the split, the categories that were
    missing, and, of MP-100, how much there is of it."""
    covered = pack.manifest.coverage
    return {
        "pack": pack.place.resolved,
        "data_hash": pack.fingerprint,
        "data": "synthetic" if pack.synthetic else "real",
        "split": split,
        "train_instances": len(pack.part(split, "train")),
        "missing_categories": {
            part: [category.name for category in pack.missing(split, part)] for part in ("train", "val", "test")
        },
        **({"mp100": covered.to_json()} if covered else {}),
    }


def describe_protocol(config: Config) -> dict[str, Any]:
    """What the scores of trials and epochs are scores of."""
    settings = config.validation
    words = f"val part, sampled as officially, {in_episodes(settings.episodes, settings.queries)}"
    return {"protocol": words, "shots": settings.shots}


def environment() -> dict[str, Any]:
    """What this process runs on: versions and machine."""
    packages = {name: version(name) for name in PACKAGES}
    machine = f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} CPUs"
    return {"python": platform.python_version(), **packages, "machine": machine}
