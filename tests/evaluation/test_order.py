from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from capetune.evaluation.order import Window, decoding_order
from capetune.evaluation.protocol import CategoryPairs
from capetune.evaluation.shared import dealt
from capetune.models.backbone import Maps
from capetune.pose import Category, PoseGraph


def drawn(seed: int, entries: int = 9, most: int = 40) -> list[CategoryPairs]:
    """Entries of random numbers of keypoints and pairs, some without any pair."""
    rng = np.random.default_rng(seed)
    found = []
    for id in range(entries):
        graph = PoseGraph(tuple(f"point {i}" for i in range(rng.integers(2, 6))), ())
        count = int(rng.integers(0, most)) * int(rng.random() > 0.2)
        queries = rng.integers(0, 8, count)
        found.append(CategoryPairs(Category(id, f"kind {id}", "", graph), rng.integers(0, 8, (count, 1)), queries))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_every_pair_comes_once_few_keypoints_first_and_the_pairs_of_an_image_together(seed: int) -> None:
    pairs = drawn(seed)
    order, image = decoding_order(pairs)
    assert sorted(map(tuple, order)) == [(e, row) for e, d in enumerate(pairs) for row in range(len(d.queries))]
    keypoints = [pairs[e].category.graph.size for e, _ in order]
    assert keypoints == sorted(keypoints)
    asked = [(e, pairs[e].queries[row]) for e, row in order]
    numbers = {pair: number for number, pair in enumerate(dict.fromkeys(asked))}
    assert image.tolist() == [numbers[pair] for pair in asked]
    assert image.tolist() == sorted(image)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("world", [1, 2, 5])
def test_ranks_are_dealt_whole_images_and_as_many_of_them(seed: int, world: int) -> None:
    pairs = drawn(seed)
    owner = dealt(pairs, world)
    owners: dict[tuple[int, int], set[int]] = {}
    for entry, (part, of) in enumerate(zip(pairs, owner, strict=True)):
        assert len(of) == len(part.queries)
        for query, rank in zip(part.queries, of, strict=True):
            owners.setdefault((entry, int(query)), set()).add(int(rank))
    assert all(len(ranks) == 1 for ranks in owners.values())
    counts = np.bincount([ranks.pop() for ranks in owners.values()], minlength=world)
    assert counts.max() - counts.min() <= 1


def chunked(count: int, size: int, taken: list[int]) -> Iterator[Maps]:
    for begin in range(0, count, size):
        taken.append(begin)
        numbers = torch.arange(begin, min(begin + size, count))
        yield numbers.view(-1, 1).float(), -numbers.view(-1, 1).float()


@pytest.mark.parametrize("seed", range(5))
def test_a_window_gives_the_maps_asked_for_and_holds_few(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(100), rng.integers(1, 30, 100))
    taken: list[int] = []
    window = Window(chunked(100, 8, taken))
    for now in np.array_split(image, len(image) // 8 + 1):
        first, second = window.maps(now)
        assert first.flatten().tolist() == now.tolist()
        assert second.flatten().tolist() == (-now).tolist()
        assert len(window) < 16
        assert taken[-1] <= now[-1]  # none is made before it is needed
