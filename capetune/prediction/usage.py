"""What an exported file says of itself, and how it is run, for those who have nothing but the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from capetune import __version__
from capetune.config import Config
from capetune.models.estimator import PoseEstimator
from capetune.prediction.exported import FACTS, INPUTS, MOST_IMAGES, Format
from capetune.prediction.parity import Parity
from capetune.runs.checkpoints import CheckpointMeta

CROP = (
    "the square around the box's centre, its side 1.25 times the box's longer side, drawn bilinearly, black outside "
    "the picture; a pixel's number is its centre; a picture that shrinks to half or less is reduced by area first"
)
SNIPPET = """\
import cv2, numpy as np, {module}

def crop(image, box, size={size}):  # image: uint8 (height, width, 3), RGB; box: x, y, width, height in its pixels
    x, y, width, height = box
    scale = size / (1.25 * max(width, height))
    at = size / 2 - 0.5 - scale * np.array([x + width / 2, y + height / 2])
    return cv2.warpAffine(image, np.array([[scale, 0, at[0]], [0, scale, at[1]]]), (size, size))

image = cv2.cvtColor(cv2.imread("picture.jpg"), cv2.COLOR_BGR2RGB)
box = [0, 0, image.shape[1] - 1, image.shape[0] - 1]  # where the object is: from its first to its last pixel
template = [[0.2, 0.1], [0.5, 0.5], [0.8, 0.9]]  # K keypoints in units of the box
edges = np.zeros((1, 3, 3), dtype=bool)
edges[0, [0, 1, 1, 2], [1, 0, 2, 1]] = True  # 0-1 and 1-2, both ways
given = {{
    "images": crop(image, box).transpose(2, 0, 1)[None],
    "boxes": np.array([box], dtype=np.float32),
    "template": np.array([template], dtype=np.float32),
    "known": np.ones((1, 3), dtype=bool),
    "edges": edges,
    "joints": np.ones((1, 3), dtype=bool),
}}
{run}
"""
RUN = {
    "torch": (
        "torch",
        "model = torch.export.load({file!r}).module()\nxy, score = model(*map(torch.from_numpy, given.values()))",
    ),
    "onnx": (
        "onnxruntime",
        'session = onnxruntime.InferenceSession({file!r}, providers=["CPUExecutionProvider"])\n'
        'xy, score = session.run(["xy", "score"], given)',
    ),
}


def facts_of(model: PoseEstimator, meta: CheckpointMeta, checkpoint: str, weights: str, most: int) -> dict[str, Any]:
    """What stands in the file, JSON's values. weights: their hash. most: the largest K."""
    size, net = meta.config.data.size, model.backbone.net
    return {
        "format": "capetune-export",
        "schema": 1,
        "capetune": __version__,
        "torch": torch.__version__,
        "checkpoint": checkpoint,
        "epoch": meta.epoch,
        "config_hash": meta.config.hash(),
        "weights_hash": weights,
        "size": size,
        "keypoints": [1, most],
        "batch": [1, MOST_IMAGES],
        "inputs": {
            "images": f"uint8 (B, 3, {size}, {size}), RGB: {CROP}",
            "boxes": "float32 (B, 4), x, y, width, height of the object in pixels of its picture, inside it: (0, 0) to "
            "the last pixel, width - 1 and height - 1, is all of it",
            "template": "float32 (B, K, 2), x and y in units of the box, (0, 0) its top left corner; any where unknown",
            "known": "bool (B, K), true where the template's place is known",
            "edges": "bool (B, K, K), symmetric, true between keypoints that hang together",
            "joints": "bool (B, K), true for keypoints, false for padding behind them in a batch of several categories",
        },
        "outputs": {
            "xy": "float32 (B, K, 2), x and y in pixels of the picture",
            "score": "float32 (B, K) in (0, 1), the chance that it lies within a tenth of the box's longer side"
            + ("" if model.calibration != (1.0, 0.0) else "; not calibrated, and mostly too low"),
        },
        "normalisation": {"inside": True, "mean": list(net.normal[0]), "deviation": list(net.normal[1])},
        "calibration": list(model.calibration),
        "config": handed(meta.config).model_dump(mode="json"),
    }


def handed(config: Config) -> Config:
    """As it may be given away: of a file of weights its name, and not where it lay."""
    weights = config.model.backbone.weights
    return config.with_overrides({"model.backbone.weights": Path(weights).name})


def usage_lines(
    format: Format, file: str, facts: dict[str, Any], parity: Parity, speeds: list[dict[str, float]], megabytes: float
) -> list[str]:
    """For the card. speeds: as `service.export` measured them."""
    module, run = RUN[format]
    where = f'extra_files={{"{FACTS}": ""}}' if format == "torch" else "the model's property `capetune`"
    snippet = SNIPPET.format(module=module, size=facts["size"], run=run.format(file=file))
    return [
        f"- {file}, {megabytes:.1f} MB: 1 to {facts['keypoints'][1]} keypoints, 1 to {facts['batch'][1]} pictures at a "
        f"time; what follows is in the file as JSON, too ({where})",
        "",
        "## Use",
        "",
        *(f"- `{name}`: {facts['inputs'][name]}" for name in INPUTS),
        *(f"- gives `{name}`: {what}" for name, what in facts["outputs"].items()),
        "",
        "Pixels are normalised inside; all is computed in float32.",
        "",
        "```python",
        snippet.rstrip(),
        "```",
        "",
        "## Compared with PyTorch",
        "",
        f"On {parity.pictures}, {parity.keypoints} keypoints: they differ by up to {parity.pixels:.1g} pixels of the "
        f"picture, scores by up to {parity.score:.1g}. Medians on the CPU that it was made on, taken in turns:",
        "",
        "| batch | keypoints | threads | this file, ms | the model in PyTorch, ms |",
        "|---|---|---|---|---|",
        *(
            f"| {row['batch']} | {row['keypoints']} | {row['threads']} | {1000 * row['file']:.0f} "
            f"| {1000 * row['torch']:.0f} |"
            for row in speeds
        ),
    ]
