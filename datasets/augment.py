"""How a training crop differs from the official one. No flips: they would exchange left and right keypoints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """rotation: degrees, clockwise on the screen. scale: factor on the crop's side. As in `crop.source_to_unit`."""

    rotation: float = 0.0
    scale: float = 1.0


def draw(rng: np.random.Generator, rotation: float, scale: float) -> Augmentation:
    """Uniform in ± `rotation` degrees and 1 ± `scale` of the side; nothing at all where both are 0.

    Beyond 15 degrees or 0.15 the crop reaches past what a pack stores and its corners are black.
    """
    return Augmentation(rng.uniform(-rotation, rotation), rng.uniform(1 - scale, 1 + scale))
