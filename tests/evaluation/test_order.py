from __future__ import annotations

import numpy as np
import pytest

from capetune.evaluation.order import Assembly, decoding_order, slices
from capetune.evaluation.protocol import CategoryPairs
from capetune.evaluation.shared import dealt
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


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [1, 8, 1000])
def test_slices_hold_every_pair_once_whole_images_and_no_more_of_them_than_a_batch(seed: int, size: int) -> None:
    pairs = drawn(seed)
    order, image = decoding_order(pairs)
    cut = slices(pairs, size)
    assert np.array_equal(np.concatenate([part.rows for part in cut]), order)
    asked = [{(e, int(pairs[e].queries[row])) for e, row in part.rows} for part in cut]
    assert sum(map(len, asked)) == image[-1] + 1
    for part, images in zip(cut, asked, strict=True):
        assert len(part.first) == len(images) == part.image[-1] + 1 <= size
        assert np.array_equal(part.image, np.sort(part.image))


def test_slices_fill_batches_of_pairs_rather_than_of_images() -> None:
    """100 images, each of them asked about twice, but for the last: once."""
    graph = PoseGraph(("a", "b"), ())
    queries = np.repeat(np.arange(100), 2)[:-1]
    pairs = [CategoryPairs(Category(1, "kind", "", graph), queries[:, None], queries)]
    assert [len(part.rows) for part in slices(pairs, 16)] == [32] * 6 + [7]
    thrice = [CategoryPairs(pairs[0].category, queries[:100, None], np.repeat(np.arange(34), 3)[:100])]
    assert [(len(part.rows), len(part.first)) for part in slices(thrice, 10)] == [(30, 10)] * 3 + [(10, 4)]
    mostly = [CategoryPairs(pairs[0].category, queries[:100, None], np.repeat(np.arange(80), [1, 1, 1, 2] * 20))]
    assert [(len(part.rows), len(part.first)) for part in slices(mostly, 16)][:2] == [(16, 13), (16, 13)]


def test_no_pairs_make_no_slices() -> None:
    assert slices(drawn(0, most=1), 8) == []


def test_slices_put_together_in_any_order_give_each_entry_once_when_it_is_whole() -> None:
    pairs, size = drawn(3), 8
    cut, whole = slices(pairs, size), Assembly(pairs)
    most = max(each.category.graph.size for each in pairs)
    found = dict(whole.empty())
    for part in reversed(cut):
        points = np.stack([np.full((most, 3), 100.0 * e + row) for e, row in part.rows])
        points[..., 2] = 0.5
        for entry, xy in whole.take(part.rows, points):
            assert entry not in found
            found[entry] = xy
    assert sorted(found) == list(range(len(pairs)))
    for entry, each in enumerate(pairs):
        wanted = 100.0 * entry + np.arange(len(each.queries))
        assert np.array_equal(found[entry], np.broadcast_to(wanted[:, None, None], found[entry].shape))
        assert (whole.scores[entry] == 0.5).all()
