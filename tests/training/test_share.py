from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from capetune.config import load_preset
from capetune.training.share import shared, step_size


def config(size: int, accumulate: int = 1):
    return load_preset("demo").with_overrides({"train.batch_size": size, "train.accumulate": accumulate})


def test_as_many_workers_as_asked_for_train_as_configured() -> None:
    asked = config(32, 2)
    assert shared(asked, 8, 8) is asked
    assert step_size(asked, 8) == 512


def test_fewer_workers_take_more_turns_and_no_larger_batches() -> None:
    for world, size, turns in ((4, 32, 2), (2, 32, 4), (1, 32, 8), (7, 19, 2), (3, 29, 3)):
        got = shared(config(32), world, 8).train
        assert (got.batch_size, got.accumulate) == (size, turns), world


@given(st.integers(1, 64), st.integers(1, 4), st.integers(1, 16), st.integers(0, 15))
def test_a_step_sees_what_was_asked_for_or_little_more(size: int, accumulate: int, full: int, gone: int) -> None:
    world = max(1, full - gone)
    asked = config(size, accumulate)
    got = shared(asked, world, full)
    whole, seen = step_size(asked, full), step_size(got, world)
    assert got.train.batch_size <= size
    assert whole <= seen < whole + world * got.train.accumulate
    others = got.with_overrides({"train.batch_size": size, "train.accumulate": accumulate})
    assert others == asked
