"""How a training crop differs from the official one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from capetune.config import DataConfig


@dataclass(frozen=True)
class Augmentation:
    """rotation: degrees, clockwise on the screen. scale: factor on the crop's side. flip: then mirrored, left to right.

    Rotation and scale are as in `crop.source_to_unit`.
    """

    rotation: float = 0.0
    scale: float = 1.0
    flip: bool = False


def draw(rng: np.random.Generator, config: DataConfig, flippable: bool) -> Augmentation:
    """Uniform in ± `rotation` degrees and 1 ± `scale` of the side; mirrored with probability `flip`, if `flippable`.

    Beyond 15 degrees or 0.15 the crop reaches past what a pack stores and its corners are black.
    """
    return Augmentation(
        rng.uniform(-config.rotation, config.rotation),
        rng.uniform(1 - config.scale, 1 + config.scale),
        bool(config.flip) and bool(rng.random() < config.flip) and flippable,
    )
