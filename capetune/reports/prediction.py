"""What `predict`, `template` and `export` say at their end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def prediction_lines(result: Any) -> list[str]:
    """Of a `PredictResult`."""
    count, size = len(result.poses), result.template.graph.size
    seen = len({pose.picture for pose in result.poses})
    mean = np.mean([pose.score for pose in result.poses])
    drawn = ", drawn/" if (result.out / "drawn").is_dir() else ""
    return [
        f"checkpoint {result.checkpoint}, epoch {result.epoch}; template: {result.template.made_of or 'a file'}",
        f"{count} pose{'s' * (count != 1)} of {size} keypoints in {seen} of {result.pictures} pictures; mean score "
        f"{mean:.2f}",
        f"{result.out}: poses.json, poses.csv, coco.json{drawn}",
    ]


def template_line(template: Any, file: Path) -> str:
    """Of a `Template` that lies in a file."""
    unknown = int((~template.known).sum())
    places = f", {unknown} of unknown place" if unknown else ""
    name = template.category or "a category without a name"
    made_of = f"; {template.made_of}" if template.made_of else ""
    return f"{file}: {name}, {template.graph.size} keypoints{places}, {len(template.graph.edges)} edges{made_of}"


def export_lines(result: Any) -> list[str]:
    """Of an `ExportResult`."""
    if result.parity is None:
        return [f"{result.card}: the model card of {result.checkpoint}"]
    found = result.parity
    lines = [
        f"{result.out}: {result.megabytes:.1f} MB; the checkpoint's weights have {result.weights_megabytes:.1f} MB",
        f"keypoints differ from the model's by up to {found.pixels:.1g} pixels, scores by up to {found.score:.1g}, "
        f"on {found.pictures}",
    ]
    for row in result.speeds:
        lines.append(
            f"batch {row['batch']}, {row['keypoints']} keypoints, {row['threads']} thread{'s' * (row['threads'] > 1)}: "
            f"{1000 * row['file']:.0f} ms, the model in PyTorch {1000 * row['torch']:.0f} ms"
        )
    return [*lines, f"{result.card}: the model card"]
