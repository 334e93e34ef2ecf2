"""Pairs as a batch without pixels, and back from what the model gave to source pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from capetune.datasets.episodes.templates import place
from capetune.datasets.packs.crop import apply, source_to_unit
from capetune.evaluation.support import Shown
from capetune.models.looks import Looks
from capetune.pose import Batch, Instance


def pair_batch(groups: Sequence[tuple[Shown, Sequence[Instance]]], looks: Sequence[Looks] = ()) -> Batch:
    """P pairs, padded to the largest K: images is (P, 3, 0, 0), to go with features that are at hand.

    groups: for each category what is shown of the supports, n rows, and the n queries. The template is placed in the
    query's box; nothing else of the query enters. looks: for each category how the supports look, n rows, for a model
    that looks at them.
    """
    queries = [query for _, group in groups for query in group]
    most = max(shown[1].shape[1] for shown, _ in groups)
    to_unit = np.stack([source_to_unit(query.box) for query in queries])
    inverse = np.linalg.inv(to_unit[:, :, :2])
    points = {name: np.zeros((len(queries), most, 2)) for name in ("template", "target")}
    masks = {name: np.zeros((len(queries), most), dtype=bool) for name in ("template_known", "visible", "joints")}
    edges = np.zeros((len(queries), most, most), dtype=bool)
    begin = 0
    for (template, known, adjacency, *_), group in groups:
        now, k = slice(begin, begin + len(group)), known.shape[1]
        begin += len(group)
        target = _moved(to_unit[now], np.stack([query.xy for query in group]))
        inside = ((target >= 0) & (target <= 1)).all(axis=-1)
        visible = np.stack([query.visible for query in group]) & inside
        boxes = np.stack([query.box for query in group])
        points["template"][now, :k] = _moved(to_unit[now], place(template, boxes))
        points["target"][now, :k] = np.where(visible[..., None], target, 0.0)
        masks["template_known"][now, :k] = known
        masks["visible"][now, :k] = visible
        masks["joints"][now, :k] = True
        edges[now, :k, :k] = adjacency
    return Batch(
        **_looks(looks, most),
        images=torch.zeros((len(queries), 3, 0, 0), dtype=torch.uint8),
        **{name: torch.from_numpy(array).float() for name, array in points.items()},
        **{name: torch.from_numpy(array) for name, array in masks.items()},
        adjacency=torch.from_numpy(edges),
        to_source=torch.from_numpy(np.concatenate([inverse, -inverse @ to_unit[:, :, 2:]], axis=2)),
        side=torch.tensor([query.side for query in queries], dtype=torch.float64),
        ids=torch.tensor([query.id for query in queries], dtype=torch.int64),
    )


def _looks(looks: Sequence[Looks], most: int) -> dict[str, torch.Tensor]:
    """One a template, for they are averaged; padded to `most` keypoints."""
    if not looks:
        return {}
    pads = [most - each.seen.shape[1] for each in looks]
    seen = [F.pad(each.seen, (0, pad)) for each, pad in zip(looks, pads, strict=True)]
    mean = [F.pad(each.mean, (0, 0, 0, pad)) for each, pad in zip(looks, pads, strict=True)]
    return {"support_visible": torch.cat(seen).unsqueeze(1), "support_looks": torch.cat(mean).unsqueeze(1)}


def inside(instances: Sequence[Instance]) -> tuple[torch.Tensor, torch.Tensor]:
    """Where to look at instances of one category in their official crops: float32 (N, K, 2) in [0, 1], and bool (N, K),
    True = visible and in the crop."""
    xy = np.stack([apply(source_to_unit(each.box), each.xy) for each in instances])
    visible = np.stack([each.visible for each in instances]) & ((xy >= 0) & (xy <= 1)).all(axis=-1)
    return torch.from_numpy(np.where(visible[..., None], xy, 0.5)).float(), torch.from_numpy(visible)


def to_source(xy: torch.Tensor, batch: Batch) -> np.ndarray:
    """xy: (P, K, 2) in [0, 1] of the batch's crops. Returns float64 (P, K, 2) source pixels."""
    return _moved(batch.to_source.cpu().numpy(), xy.double().cpu().numpy())


def _moved(affine: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Each pose by its own affine. affine: float64 (P, 2, 3). xy: float64 (P, K, 2)."""
    return np.einsum("pij,pkj->pki", affine[:, :, :2], xy) + affine[:, None, :, 2]
