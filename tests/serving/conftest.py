from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import capetune
from capetune.prediction.model import Model
from capetune.prediction.template import Template


@pytest.fixture(scope="package")
def model(untrained: Path) -> Model:
    return capetune.load(untrained)


@pytest.fixture
def templates() -> dict[str, Template]:
    """Of three categories, two of one name."""
    line = [[0.1, 0.5], [0.9, 0.5], [0.5, 0.1]]
    made = {"7": ("fly", line), "8": ("beak", line[:2]), "9": ("beak", line)}
    return {id: Template.of(xy, [(0, 1)], category=name) for id, (name, xy) in made.items()}


@pytest.fixture
def picture(tiny_root: Path) -> Callable[..., dict[str, Any]]:
    """picture(4): how a question has the fifth of a category's pictures."""

    def asked(number: int, **more: Any) -> dict[str, Any]:
        data = (tiny_root / f"images/tiny88_body/{number:03d}.jpg").read_bytes()
        return {"name": f"{number:03d}.jpg", "data": base64.b64encode(data).decode(), **more}

    return asked


@pytest.fixture
def encoded() -> Callable[[np.ndarray], str]:
    """A picture's pixels, (H, W, 3), as PNG in base64."""
    from capetune.prediction.drawing import encode_png

    return lambda image: base64.b64encode(encode_png(image)).decode()
