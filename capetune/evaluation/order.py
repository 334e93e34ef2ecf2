"""The order in which pairs are decoded, and the maps of their images while they are needed.

Pairs of few keypoints come first, so that a batch of several categories pads little; pairs of an image stand together,
so that its maps are made once and dropped soon.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from capetune.evaluation.protocol import CategoryPairs
from capetune.models.backbone import Maps


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


class Window:
    """The maps of the images that a batch asks about, and of few others.

    chunks: maps of images 0, 1, 2, …, some at a time; a chunk is taken when one of its images is asked for.
    """

    def __init__(self, chunks: Iterator[Maps]) -> None:
        self._chunks = chunks
        self._begin = 0  # the first image held
        self._maps: Maps = ()

    def maps(self, images: np.ndarray) -> Maps:
        """images: int (B,), rising, none below any that was asked for before. Returns their maps, (B, …) each."""
        first, last = int(images[0]), int(images[-1])
        while not self._maps or last >= self._begin + len(self._maps[0]):
            more = next(self._chunks)
            left = tuple(seen[first - self._begin :] for seen in self._maps)
            self._begin = self._begin + len(self._maps[0]) - len(left[0]) if left else 0
            self._maps = tuple(torch.cat(both) for both in zip(left, more, strict=True)) if left else more
        chosen = torch.as_tensor(images - self._begin, device=self._maps[0].device)
        return tuple(seen[chosen] for seen in self._maps)

    def __len__(self) -> int:
        """How many images' maps are held."""
        return len(self._maps[0]) if self._maps else 0
