"""Predictions as a file in the format of COCO's results, one entry a pair: ours for others, and anyone's to be scored.

An entry has `image_id`, `annotation_id` (the query's) and `category_id`; `episode`, from 0 in its category, and
`support_ids`, annotations too, which tell the pair from others of the same query; `keypoints`, x, y in pixels of the
source image and a score for each of the category's K; and `score`, their mean, as COCO wants it, which isn't read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from capetune.errors import UserError
from capetune.evaluation.evaluate import Predictor
from capetune.evaluation.protocol import CategoryPairs
from capetune.pose import Instance

FIELDS = ("image_id", "annotation_id", "category_id", "episode", "support_ids", "keypoints")
FARTHEST = 1e9  # pixels: what is farther off is no place in an image
NAMED = 3  # entries named of each fault

Key = tuple[int, int, int]


class Kept:
    """A predictor whose predictions are kept, to be written down. queries: of an episode.

    A model's scores are its own; a baseline has no doubts, its scores are 1.
    """

    def __init__(self, predictor: Any, queries: int) -> None:
        self.predictor: Predictor = predictor
        self.name = predictor.name
        self.queries = queries
        self._found: dict[int, tuple[CategoryPairs, Sequence[Instance], np.ndarray]] = {}

    def predict_all(
        self, instances: Mapping[int, Sequence[Instance]], pairs: Sequence[CategoryPairs]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """As `Predictor` has it."""
        for entry, xy in self.predictor.predict_all(instances, pairs):
            scores = getattr(self.predictor, "scores", None)
            score = np.ones(xy.shape[:2]) if scores is None else scores[entry]
            points = np.concatenate([xy, score[..., None]], axis=-1)
            self._found[entry] = pairs[entry], instances[pairs[entry].category.id], points
            yield entry, xy

    def pieces(self) -> Iterator[bytes]:
        """The file, an entry a line, categories and pairs in the order of the protocol."""
        begin = "[\n"
        for entry in sorted(self._found):
            drawn, group, points = self._found[entry]
            for row, (query, supports) in enumerate(zip(drawn.queries, drawn.supports, strict=True)):
                described = {
                    "image_id": group[query].image_id,
                    "annotation_id": group[query].id,
                    "category_id": drawn.category.id,
                    "episode": row // self.queries,
                    "support_ids": [group[support].id for support in supports],
                    "keypoints": points[row].ravel().tolist(),
                    "score": float(points[row, :, 2].mean()),
                }
                yield f"{begin}{json.dumps(described)}".encode()
                begin = ",\n"
        yield b"\n]\n"


@dataclass(frozen=True, eq=False)
class _Wanted:
    """A pair: its place among all, and what an entry must say of it."""

    entry: int
    row: int
    image_id: int
    supports: list[int]


class FromFile:
    """Anyone's predictions. tree: the file's JSON; source: its name; queries: of an episode."""

    name = "predictions"

    def __init__(self, tree: Any, source: str, queries: int) -> None:
        self.tree = tree
        self.source = source
        self.queries = queries

    def predict_all(
        self, instances: Mapping[int, Sequence[Instance]], pairs: Sequence[CategoryPairs]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """As `Predictor` has it. Raises UserError, which counts and names them, where entries are missing, there twice,
        of no pair of these, not of K keypoints, or not finite."""
        if not isinstance(self.tree, list):
            raise UserError(f"{self.source} is no list of predictions; `capetune eval --predictions FILE` writes one")
        wanted = self._wanted(instances, pairs)
        found = [np.full((len(drawn.queries), drawn.category.graph.size, 2), np.nan) for drawn in pairs]
        faults: dict[str, list[str]] = {}
        seen: set[Key] = set()
        for number, item in enumerate(self.tree, 1):
            fault = _lacking(item)
            if fault:
                faults.setdefault("not of the format", []).append(f"entry {number} ({fault})")
                continue
            key: Key = (item["category_id"], item["episode"], item["annotation_id"])
            pair = wanted.get(key)
            if pair is None:
                fault = "of no pair that is asked for"
            elif key in seen:
                fault = "there twice"
            elif item["image_id"] != pair.image_id or sorted(item["support_ids"]) != pair.supports:
                fault = "with another image or other supports than the pair's"
            else:
                fault = _taken(item["keypoints"], found[pair.entry][pair.row])
            if pair is not None:
                seen.add(key)
            if fault:
                faults.setdefault(fault, []).append(_named(key))
        missing = [_named(key) for key in wanted if key not in seen]
        if missing:
            faults["missing"] = missing
        if faults:
            said = "; ".join(f"{len(names)} {fault}: {_few(names)}" for fault, names in faults.items())
            raise UserError(
                f"{self.source} can't be scored on these {len(wanted)} pairs: {said}; one entry a pair is wanted, as "
                f"`capetune eval --predictions FILE` writes them for the same split, part, shots, episodes and queries"
            )
        yield from enumerate(found)

    def _wanted(
        self, instances: Mapping[int, Sequence[Instance]], pairs: Sequence[CategoryPairs]
    ) -> dict[Key, _Wanted]:
        wanted = {}
        for entry, drawn in enumerate(pairs):
            group = instances[drawn.category.id]
            for row, query in enumerate(drawn.queries):
                supports = sorted(group[support].id for support in drawn.supports[row])
                key = (drawn.category.id, row // self.queries, group[query].id)
                wanted[key] = _Wanted(entry, row, group[query].image_id, supports)
        return wanted


def _lacking(item: Any) -> str | None:
    """What is wrong with an entry before anybody looks which pair it is of."""
    if not isinstance(item, dict):
        return "no object"
    lacking = [name for name in FIELDS if name not in item]
    if lacking:
        return f"no {lacking[0]}"
    ids = [item[name] for name in FIELDS[:4]]
    supports = item["support_ids"]
    if not isinstance(supports, list) or not isinstance(item["keypoints"], list):
        return "support_ids and keypoints are lists"
    whole = all(isinstance(id, int) and not isinstance(id, bool) for id in (*ids, *supports))
    return None if whole else "ids and episode are whole numbers"


def _taken(keypoints: list[Any], place: np.ndarray) -> str | None:
    """Put an entry's keypoints into `place`, float (K, 2); or what is wrong with them."""
    if len(keypoints) != 3 * len(place):
        return "with another number of keypoints than the category's"
    try:
        points = np.array(keypoints, dtype=np.float64).reshape(-1, 3)
    except (TypeError, ValueError, OverflowError):
        return "with keypoints that are no numbers"
    if not np.isfinite(points).all() or (abs(points) > FARTHEST).any():
        return "not finite"
    place[:] = points[:, :2]
    return None


def _named(key: Key) -> str:
    category, episode, annotation = key
    return f"annotation {annotation} (category {category}, episode {episode})"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
