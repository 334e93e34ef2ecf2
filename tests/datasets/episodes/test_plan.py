from __future__ import annotations

from collections import Counter
from contextlib import closing
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capetune.config import DataConfig
from capetune.datasets.episodes.balance import balanced
from capetune.datasets.episodes.plan import Balance, Plan, _Unread, plan
from capetune.datasets.episodes.stream import train_loader
from capetune.datasets.episodes.supports import TrainSet
from capetune.datasets.packs.reader import Pack, open_pack
from capetune.errors import UserError


@pytest.fixture(scope="module")
def pack(tiny_pack: Path) -> Pack:
    return open_pack(tiny_pack)


@pytest.mark.parametrize(("ranks", "loaders"), [(1, 0), (3, 2)])
def test_what_is_planned_is_what_the_loaders_give(pack: Pack, ranks: int, loaders: int) -> None:
    config = DataConfig(size=64, workers=loaders)
    train = TrainSet(pack, 1)
    for rank in range(ranks):
        planned = _Unread(pack, train, config, 4, 7, rank, ranks).epoch(2, 20, max(1, loaders))
        with closing(train_loader(pack, config, 4, 7, rank, ranks)) as loader:
            assert [batch.ids.tolist() for batch in loader.epoch(2, 20)] == planned


@pytest.fixture
def uneven(pack: Pack) -> Pack:
    """Of the ten train categories the first nine have 2 instances each, the last one all its 20."""
    part = pack.part(1, "train")
    *few, last = part.categories
    ids = {i.id for c in few for i in part.instances[c.id][:2]} | {i.id for i in part.instances[last.id]}
    entry = pack.manifest.splits["1"]["train"]
    rows = tuple(row for row in entry.instances if pack.instances[row].id in ids)
    splits = {"1": {"train": entry.model_copy(update={"instances": rows})}}
    return Pack(pack.place, pack.manifest.model_copy(update={"splits": splits}))


@pytest.mark.parametrize(("ranks", "loaders"), [(1, 0), (2, 2)])
def test_a_balanced_stream_is_planned_as_the_loaders_give_it_and_goes_on_from_any_batch(
    uneven: Pack, ranks: int, loaders: int
) -> None:
    config = DataConfig(size=64, workers=loaders, balance="categories")
    train = TrainSet(uneven, 1)
    for rank in range(ranks):
        planned = _Unread(uneven, train, config, 4, 7, rank, ranks).epoch(2, 20, max(1, loaders))
        with closing(train_loader(uneven, config, 4, 7, rank, ranks)) as loader:
            assert [batch.ids.tolist() for batch in loader.epoch(2, 20, 13)] == planned[13:]


def test_balanced_each_category_comes_as_often_as_the_others(uneven: Pack) -> None:
    kinds: tuple[Balance, Balance] = ("instances", "categories")
    plain, even = (plan(uneven, 1, ranks=1, loaders=0, batch=19, seed=3, balance=kind) for kind in kinds)
    assert plain.samples == even.samples == 38
    for row in plain.epochs:
        assert (row.once, row.often) == (38, (2, 20))
    for row in even.epochs:
        assert 3 <= row.often[0] <= row.often[1] <= 5  # 3.8 on average
        assert row.entropy > plain.epochs[0].entropy
        assert row.once + row.again + row.never == 38


@given(st.lists(st.integers(2, 40), min_size=1, max_size=8), st.integers(0, 2**32 - 1))
def test_whatever_the_counts_a_pass_differs_by_less_than_one_from_what_is_right(counts: list[int], seed: int) -> None:
    share = sum(counts) / len(counts)
    values = [(id, n) for id, count in enumerate(counts) for n in range(count)]
    found = balanced(
        {id: share / count for id, count in enumerate(counts)}, lambda v: v[0], np.random.default_rng(seed), values
    )
    times = Counter(id for id, _ in found)
    assert all(abs(times[id] - share) < 1 + 1e-9 for id in range(len(counts)))


def test_one_rank_sees_each_sample_once(pack: Pack) -> None:
    found = plan(pack, 1, ranks=1, loaders=0, batch=8, seed=42)
    assert (found.samples, found.categories, found.surplus, found.shards) == (200, 10, 0, 8)
    assert [(row.steps, row.once, row.again, row.never, row.alike) for row in found.epochs] == [
        ((25, 25), 200, 0, 0, 0)
    ] * 2
    assert 0.9 * found.epochs[0].ideal < found.epochs[0].entropy <= 3.0
    assert found.epochs[0].shards == (8, 8)
    assert found.epochs[0].samples == (200, 200)


def test_shares_that_are_not_even_and_a_surplus_are_counted(pack: Pack) -> None:
    found = plan(pack, 1, ranks=3, loaders=0, batch=7, seed=42)  # of 8 shards a rank has 2 or 3
    assert found.surplus == 10 * 21 - 200
    for row in found.epochs:
        assert row.shards == (2, 3)
        assert row.never > 0
        assert row.once + row.again + row.never == 200


def test_what_can_t_run_is_refused_with_its_cure(pack: Pack) -> None:
    with pytest.raises(UserError, match=r"8 shards can't feed 9 readers .*: repack with --shards 9 or use fewer"):
        plan(pack, 1, ranks=3, loaders=3, batch=8, seed=0)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 12), st.integers(0, 5), st.integers(1, 300), st.integers(0, 2**32 - 1), st.sampled_from(range(1, 6))
)
def test_whatever_is_asked_every_rank_has_equal_steps_and_every_reader_a_shard(
    pack: Pack, ranks: int, loaders: int, batch: int, seed: int, split: int
) -> None:
    def planned() -> Plan:
        return plan(pack, split, ranks, loaders, batch, seed)

    readers = ranks * max(1, loaders)
    if readers > 8:
        with pytest.raises(UserError, match="can't feed"):
            planned()
        return
    found = planned()
    for row in found.epochs:
        assert row.steps[0] == row.steps[1] == -(-200 // (ranks * batch))
        assert row.shards[0] >= 1
        assert sum(row.shards) * readers >= 8
        assert row.once + row.again + row.never == 200
        assert 0 <= row.entropy <= row.ideal + 1
        assert row.alike == 0 or batch == 1
        if readers == 1:
            assert row.never == 0
    assert found.surplus >= 0


def test_no_two_ranks_share_a_shard_in_a_pass(pack: Pack) -> None:
    train = TrainSet(pack, 1)
    streams = [_Unread(pack, train, DataConfig(), 8, 1, rank, 3) for rank in range(3)]
    shares = list(chain.from_iterable(chain.from_iterable(stream.shares(4, 2) for stream in streams)))
    assert sorted(shares) == list(range(8))
