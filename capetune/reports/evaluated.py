"""A result of `capetune eval --json`, and the pictures of the pairs that it keeps to be looked at."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Literal, NotRequired

import numpy as np
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from capetune.datasets.episodes.flips import mirrored
from capetune.datasets.packs.crop import apply, crop_affine, encode_jpeg, source_to_unit, warp_crop
from capetune.datasets.packs.reader import Pack
from capetune.errors import UserError
from capetune.evaluation.baselines import Template
from capetune.evaluation.failures import KINDS, kinds
from capetune.evaluation.looked import looked
from capetune.evaluation.protocol import CategoryPairs, official_pairs, pairs_hash
from capetune.pose import Category, Instance, Part
from capetune.prediction.model import Model
from capetune.runs.document import Odd, read_checked

SIDE, QUALITY = 256, 80  # of a picture, pixels and JPEG's


class _Scores(TypedDict):
    pairs: int
    pck: dict[str, float]
    mpck4: float
    mpck5: float
    auc: float
    nme: float
    epe: float


class _Failures(TypedDict):
    keypoints: int
    missed: int
    template_missed: int
    kinds: dict[str, int]


class _Category(_Scores):
    name: str
    template: _Scores
    failures: _Failures


class _Curves(TypedDict):
    threshold: list[float]
    predictor: list[float]
    template: list[float]


class _Example(TypedDict):
    category_id: int
    annotation_id: int
    support_ids: list[int]
    episode: int
    mpck4: float
    template_mpck4: float
    keypoints: list[float]


class _NotSampled(TypedDict):
    id: int
    name: str
    instances: int
    needed: int


class _Seen(TypedDict):
    known: bool
    categories: list[str]
    of_categories: int
    pictures: int
    of_pictures: int


class _Comparison(TypedDict):
    sentence: str


class _Super(_Scores):
    categories: int
    template: _Scores


class Result(_Scores):
    """What is looked at of an evaluation's JSON."""

    protocol: str
    split: int
    part: str
    shots: int
    episodes: int
    queries: int
    data: str
    predictor: str
    template: _Scores
    intervals: dict[str, list[float] | None]
    empty_pairs: int
    per_category: dict[str, _Category]
    not_sampled: list[_NotSampled]
    left_out_instances: int
    ablation: dict[str, _Scores]
    checkpoint: str | None
    epoch: int | None
    config_hash: str | None
    weights_hash: str | None
    pairs_hash: str | None
    data_hash: str | None
    seen: _Seen | None
    comparison: _Comparison | None
    pack: str | None
    failures: _Failures
    curves: _Curves
    examples: dict[str, list[_Example]]
    measure: NotRequired[Literal["official", "paper"]]  # older results are official
    per_supercategory: NotRequired[dict[str, _Super]]


_RESULT = TypeAdapter(Result)


def read_result(file: Path) -> Result:
    """Raises UserError where it is none, or was written before results kept what a report shows."""
    try:
        result: Result = read_checked(file, _RESULT)
    except FileNotFoundError:
        raise UserError(f"{file}: there is no such file; `capetune eval --json FILE` writes one") from None
    except Odd as odd:
        raise UserError(
            f"{file} {odd}: no result that a report can be made of; write it by `capetune eval --json`"
        ) from None
    return result


@dataclass(frozen=True, eq=False)
class Shown:
    """A pair to look at. picture: the query's official crop as JPEG, base64. truth, predicted, template: float (K, 2),
    pixels of that picture, SIDE a side. counts: bool (K,), True = a keypoint that the score is of; off: bool (K,),
    True = one of these that was missed. missed: how many of each kind. looked: float (K, P, 3), where the model looked
    for each keypoint, x and y in these pixels, and with which weight, of sum 1; None: not known."""

    category: Category
    mpck4: float
    template_mpck4: float
    picture: str
    truth: np.ndarray
    predicted: np.ndarray
    template: np.ndarray
    counts: np.ndarray
    off: np.ndarray
    missed: dict[str, int]
    looked: np.ndarray | None


def show(result: Result, source: Path, pack: Pack, model: Model | None = None) -> dict[str, list[Shown]]:
    """Each group's pairs on their pictures. model: the one that was scored, to see where it looked.

    Raises UserError where the pack's pairs or their truth aren't those that were scored, or a picture is damaged.
    """
    part = pack.part(result["split"], result["part"])
    found = pairs_hash(part, official_pairs(part, result["shots"], result["episodes"], result["queries"]))
    if found != result["pairs_hash"]:
        raise UserError(
            f"{source} was scored on other pairs than {pack.address} has ({result['pairs_hash']}, {found}): give "
            "--data the pack that it was scored on"
        )
    places = {id: {each.id: n for n, each in enumerate(group)} for id, group in part.instances.items()}
    try:
        pairs = {
            group: [_pair(example, part, places[example["category_id"]]) for example in examples]
            for group, examples in result["examples"].items()
        }
        every = [pair for group in pairs.values() for pair in group]
        seen = iter(repeat(None) if model is None else _looked(model, pack, part, every))
        return {
            group: [_shown(*each, part, pack, next(seen)) for each in zip(examples, pairs[group], strict=True)]
            for group, examples in result["examples"].items()
        }
    except (LookupError, ValueError):
        raise UserError(
            f"{source} has examples of no pair of {pack.address}: write it anew by `capetune eval --json`"
        ) from None


def _pair(example: _Example, part: Part, places: dict[int, int]) -> CategoryPairs:
    category = next(each for each in part.categories if each.id == example["category_id"])
    supports = np.array([[places[id] for id in example["support_ids"]]])
    return CategoryPairs(category, supports, np.array([places[example["annotation_id"]]]))


def _looked(model: Model, pack: Pack, part: Part, pairs: Sequence[CategoryPairs]) -> Iterator[np.ndarray]:
    for places, weights in looked(model.estimator, pack, model.meta.config.data, part, pairs):
        yield np.concatenate([places * SIDE, weights[..., None]], axis=-1)


def _shown(example: _Example, pair: CategoryPairs, part: Part, pack: Pack, seen: np.ndarray | None) -> Shown:
    category, supports = pair.category, pair.supports
    instances: Sequence[Instance] = part.instances[category.id]
    query = instances[pair.queries[0]]
    predicted = np.array(example["keypoints"]).reshape(query.xy.shape)
    if not np.isfinite(predicted).all():
        raise ValueError("no place in a picture")
    template = Template().predict(category, instances, supports, pair.queries)[0]
    counts = query.visible & np.all([instances[place].visible for place in supports[0]], axis=0)
    poses = (predicted[None], query.xy[None], template[None])
    found = kinds(*poses, counts[None], np.array([query.side]), mirrored(category.graph))[0]
    affine = crop_affine(query.box, SIDE)
    jpeg = encode_jpeg(warp_crop(pack.crop(query.id, SIDE), source_to_unit(query.box), SIDE), QUALITY)
    return Shown(
        category,
        example["mpck4"],
        example["template_mpck4"],
        base64.b64encode(jpeg).decode(),
        apply(affine, query.xy),
        apply(affine, predicted),
        apply(affine, template),
        counts,
        found >= 0,
        {name: int((found == number).sum()) for number, name in enumerate(KINDS) if (found == number).any()},
        seen,
    )
