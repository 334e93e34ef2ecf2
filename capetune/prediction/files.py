"""Predicted poses as files: JSON for programs, a table for spreadsheets, COCO's format for annotation tools."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from capetune.pose import PoseGraph
from capetune.prediction.template import Template

COLUMNS = ("image", "object", "box_x", "box_y", "box_width", "box_height", "keypoint", "name", "x", "y", "score")


@dataclass(frozen=True, eq=False)
class Pose:
    """Of one object. picture: its name. size: (width, height). object: its number in the picture, from 0. box: (4,)
    xywh, xy: (K, 2), in the picture's pixels. score: (K,), as `Poses` has it."""

    picture: str
    size: tuple[int, int]
    object: int
    box: np.ndarray
    xy: np.ndarray
    score: np.ndarray


def as_json(poses: Sequence[Pose], template: Template, facts: Mapping[str, Any]) -> str:
    """facts: what else there is to say, such as the checkpoint."""
    described = [
        {
            "image": pose.picture,
            "size": list(pose.size),
            "object": pose.object,
            "box": pose.box.tolist(),
            "keypoints": [
                {"name": name, "x": x, "y": y, "score": score}
                for name, (x, y), score in zip(template.graph.names, pose.xy.tolist(), pose.score.tolist(), strict=True)
            ],
        }
        for pose in poses
    ]
    return (
        json.dumps({**facts, "template": template.to_json(), "poses": described}, ensure_ascii=False, indent=1) + "\n"
    )


def as_csv(poses: Sequence[Pose], graph: PoseGraph) -> str:
    """A row a keypoint."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for pose in poses:
        whose = pose.picture, pose.object, *pose.box.tolist()
        for k, ((x, y), score) in enumerate(zip(pose.xy.tolist(), pose.score.tolist(), strict=True)):
            table.writerow((*whose, k, graph.names[k], x, y, score))
    return text.getvalue()


def as_coco(poses: Sequence[Pose], template: Template) -> str:
    """An annotation file as COCO has it, every keypoint marked visible; scores stand beside, and `score` is their mean.

    A box is written as wide as annotations count it, both edges' pixels inside, so that read again it is the same.
    """
    graph = template.graph
    numbers: dict[str, tuple[int, tuple[int, int]]] = {}
    for pose in poses:
        numbers.setdefault(pose.picture, (len(numbers) + 1, pose.size))
    images = [
        {"id": id, "file_name": name, "width": width, "height": height}
        for name, (id, (width, height)) in numbers.items()
    ]
    skeleton = [[i + 1, j + 1] for i, j in graph.edges]  # COCO counts from 1
    name = template.category or "object"
    categories = [{"id": 1, "name": name, "keypoints": list(graph.names), "skeleton": skeleton}]
    annotations = []
    for id, pose in enumerate(poses, 1):
        x, y, width, height = (pose.box + np.array([0, 0, 1, 1])).tolist()
        annotations.append(
            {
                "id": id,
                "image_id": numbers[pose.picture][0],
                "category_id": 1,
                "bbox": [x, y, width, height],
                "area": width * height,
                "iscrowd": 0,
                "keypoints": np.column_stack([pose.xy, np.full(graph.size, 2)]).ravel().tolist(),
                "num_keypoints": graph.size,
                "keypoint_scores": pose.score.tolist(),
                "score": float(pose.score.mean()),
            }
        )
    info = {"description": "predicted by capetune, not labelled by anybody"}
    tree = {"info": info, "images": images, "annotations": annotations, "categories": categories}
    return json.dumps(tree, ensure_ascii=False) + "\n"
