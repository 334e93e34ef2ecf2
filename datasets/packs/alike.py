"""Near-duplicates of a pack: crops of one category from different pictures that look alike.

As support and query they make an episode easy, and from training to test they make a score flattering. Alike is a
correlation of LOOK × LOOK grey pixels of the official crops of at least ALIKE. On the real frames of six sources
(2026-11-30) the most alike crops of two categories had 0.77, the nearest frames of a video mostly 0.9 to 0.99.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from capetune.datasets.packs.crop import source_to_unit, warp_crop
from capetune.datasets.packs.reader import Pack
from capetune.pose import Instance

LOOK, ALIKE = 32, 0.95
BLOCK = 1024  # crops that are compared with all others at a time
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Twins:
    """Of one category, instance ids. pairs: near-duplicates on different pictures, each once, the most alike first.
    episode: instances with one in the same part of a split, so that they can be its support. leaked: instances of a val
    or test part with one in the training part of that split."""

    pairs: tuple[tuple[int, int], ...]
    episode: frozenset[int]
    leaked: frozenset[int]


def find_twins(pack: Pack, progress: Progress = lambda done, total: None) -> dict[int, Twins]:
    """By category id, those with instances. Raises PackDamaged where a crop can't be had."""
    looks = _looks(pack, progress)
    groups: dict[int, list[int]] = {}
    for row, instance in enumerate(pack.instances):
        groups.setdefault(instance.category_id, []).append(row)
    return {id: _twins(pack, np.array(rows), looks[rows]) for id, rows in sorted(groups.items())}


def _looks(pack: Pack, progress: Progress) -> np.ndarray:
    """float32 (N, LOOK²), each crop's grey pixels less their mean, of length 1; 0 where it is of one colour."""
    places = {instance.id: row for row, instance in enumerate(pack.instances)}
    looks = np.zeros((len(places), LOOK * LOOK), dtype=np.float32)
    done = 0
    for shard in range(len(pack.manifest.shards)):
        with pack.open_shard(shard) as stream:
            for row in pack.in_shard(shard):
                stream.seek(row.offset)
                crop = pack.decode(row, stream.read(row.length), LOOK)
                image = warp_crop(crop, source_to_unit(row.instance.box), LOOK)
                grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32).ravel()
                grey -= grey.mean()
                length = np.linalg.norm(grey)
                looks[places[row.instance.id]] = grey / length if length > 1 else 0
                done += 1
                progress(done, len(places))
    return looks


def _twins(pack: Pack, rows: np.ndarray, looks: np.ndarray) -> Twins:
    """rows: (n,) of one category. looks: theirs."""
    instances = [pack.instances[row] for row in rows]
    pictures = np.unique([instance.file_name for instance in instances], return_inverse=True)[1]
    found = []
    for start in range(0, len(rows), BLOCK):
        same = looks[start : start + BLOCK] @ looks.T
        here = np.arange(start, start + len(same))
        alike = (same >= ALIKE) & (here[:, None] < np.arange(len(rows))) & (pictures[here, None] != pictures)
        i, j = np.nonzero(alike)
        found.append(np.column_stack([same[i, j], i + start, j]))
    pairs = np.concatenate(found)
    pairs = pairs[np.argsort(-pairs[:, 0], kind="stable")]
    i, j = pairs[:, 1].astype(int), pairs[:, 2].astype(int)
    episode: set[int] = set()
    leaked: set[int] = set()
    for parts in _parts(pack, rows):
        together = (parts[i] == parts[j]) & (parts[i] >= 0)
        episode |= _ids(instances, i[together]) | _ids(instances, j[together])
        for query, support in ((i, j), (j, i)):
            leaked |= _ids(instances, query[(parts[query] > 0) & (parts[support] == 0)])
    ids = [(instances[a].id, instances[b].id) for a, b in zip(i, j, strict=True)]
    return Twins(tuple(ids), frozenset(episode), frozenset(leaked))


def _parts(pack: Pack, rows: np.ndarray) -> list[np.ndarray]:
    """For each split, int (n,): 0 for the training part, 1 for val, 2 for test, -1 for none."""
    order = {"train": 0, "val": 1, "test": 2}
    made = []
    for parts in pack.manifest.splits.values():
        where = np.full(len(pack.instances), -1)
        for part, entry in parts.items():
            where[list(entry.instances)] = order[part]
        made.append(where[rows])
    return made


def _ids(instances: list[Instance], places: np.ndarray) -> set[int]:
    return {instances[place].id for place in places}
