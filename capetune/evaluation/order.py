"""The order in which pairs are decoded, and the slices of it that workers may share.

Pairs of few keypoints come first, so that a batch of several categories pads little; pairs of an image stand together,
so that its maps are made once and dropped soon.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from capetune.evaluation.protocol import CategoryPairs


def decoding_order(pairs: Sequence[CategoryPairs]) -> tuple[np.ndarray, np.ndarray]:
    """Of all N pairs: int64 (N, 2), the entry of `pairs` and the row in it; and int64 (N,), the number of the pair's
    image, from 0 and without gaps. An image is a query of an entry."""
    counts = [len(drawn.queries) for drawn in pairs]
    entry = np.repeat(np.arange(len(pairs)), counts)
    row = np.concatenate([np.arange(count) for count in counts])
    query = np.concatenate([drawn.queries for drawn in pairs])
    keypoints = np.array([drawn.category.graph.size for drawn in pairs])[entry]
    order = np.lexsort((query, entry, keypoints))
    entry, row, query = entry[order], row[order], query[order]
    new = (np.diff(entry, prepend=-1) != 0) | (np.diff(query, prepend=-1) != 0)
    return np.stack([entry, row], axis=1), np.cumsum(new) - 1


@dataclass(frozen=True, eq=False)
class Slice:
    """A part of the work that is done alike wherever it is done, with whatever comes before and after it.

    rows: int64 (n, 2), entry of the pairs and row in it. image: int64 (n,), the number of each pair's image in the
    slice, from 0, rising and without gaps.
    """

    rows: np.ndarray
    image: np.ndarray

    @property
    def first(self) -> np.ndarray:
        """int64 (m,): for each image the first pair that asks about it."""
        return np.unique(self.image, return_index=True)[1]


def slices(pairs: Sequence[CategoryPairs], size: int) -> list[Slice]:
    """All pairs in the order of decoding, cut between images: as many images as fill a batch of that size, and fewer
    where their pairs then fill whole batches better."""
    order, image = decoding_order(pairs)
    asked = np.cumsum(np.bincount(image)) if len(image) else np.empty(0, dtype=np.int64)
    found, begin, done = [], 0, 0
    while begin < len(asked):
        upto = asked[begin : begin + size] - done
        wanted = max(1, round(int(upto[-1]) / size)) * size
        images = max(1, int(np.searchsorted(upto, wanted, side="right")))
        now = slice(done, done + int(upto[images - 1]))
        found.append(Slice(order[now], image[now] - begin))
        begin, done = begin + images, now.stop
    return found


def runs(rows: np.ndarray) -> Iterator[tuple[int, slice]]:
    """rows: int (n, 2), entries and rows, those of an entry together. Yields each entry and where it stands."""
    starts = np.flatnonzero(np.diff(rows[:, 0], prepend=-1))
    for begin, end in itertools.pairwise([*starts.tolist(), len(rows)]):
        yield int(rows[begin, 0]), slice(begin, end)


class Assembly:
    """The predictions of slices, put together by entry. `scores` has for each entry that `take` has yielded the
    keypoints' scores, float (P, K)."""

    def __init__(self, pairs: Sequence[CategoryPairs]) -> None:
        sizes = [(len(drawn.queries), drawn.category.graph.size) for drawn in pairs]
        self.scores = [np.empty(size) for size in sizes]
        self._found = [np.empty((*size, 2)) for size in sizes]
        self._left = [count for count, _ in sizes]

    def empty(self) -> Iterator[tuple[int, np.ndarray]]:
        """Entries without a pair: there is nothing to wait for."""
        return ((entry, xy) for entry, xy in enumerate(self._found) if not len(xy))

    def take(self, rows: np.ndarray, points: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """rows: int (n, 2), of a slice or a part of one. points: float64 (n, K, 3), x, y and score, K the largest there
        is. Yields the entries that are whole now, with float64 (P, K, 2)."""
        for entry, now in runs(rows):
            chosen, k = rows[now, 1], self.scores[entry].shape[1]
            self._found[entry][chosen] = points[now, :k, :2]
            self.scores[entry][chosen] = points[now, :k, 2]
            self._left[entry] -= len(chosen)
            if not self._left[entry]:
                yield entry, self._found[entry]
