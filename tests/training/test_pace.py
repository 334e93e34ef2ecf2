from __future__ import annotations

import itertools

import numpy as np
import pytest

from capetune.training.pace import Pace
from capetune.training.ranks import Ranks


def due(minutes: float, seconds: list[float], steps: int, ranks: Ranks | None = None) -> list[int]:
    """Of that many steps of an epoch, each of which takes the next of these seconds, the last for ever: those at which
    it is due."""
    now = itertools.accumulate(itertools.chain(seconds, itertools.repeat(seconds[-1])))
    pace = Pace(minutes, ranks or Ranks(), lambda: next(now))
    return [step for step in range(1, steps + 1) if pace.due(1, step)]


@pytest.mark.parametrize("first", [1.0, 50.0, 0.001])
def test_it_is_due_about_every_so_many_minutes_however_long_the_first_steps_take(first: float) -> None:
    found = due(2, [first, first, first, 1.0], 1000)
    gaps = np.diff([0, *found])
    assert len(found) >= 7
    assert gaps.max() <= 130
    assert ((gaps[2:] >= 110) & (gaps[2:] <= 121)).all()


def test_it_is_due_in_time_where_steps_get_slower() -> None:
    found = due(2, [0.1] * 2000 + [1.0], 4000)
    assert next(step for step in found if step > 2000) <= 2000 + 1200 / 4 + 120
    assert found[-1] - found[-2] <= 121


def test_a_step_that_takes_longer_is_kept_each() -> None:
    assert due(0.1, [60.0], 5) == [2, 3, 4, 5]


def test_nought_is_never() -> None:
    assert due(0, [60.0], 100) == []


def test_ranks_agree_and_the_slowest_counts() -> None:
    slow = Ranks(gather=lambda array: [array, 2 * array])
    assert np.diff(due(2, [1.0], 1000, slow))[1:].max() <= 61


def test_ranks_speak_seldom() -> None:
    asked = []
    ranks = Ranks(gather=lambda array: asked.append(1) or [array])
    due(10, [0.1], 20_000, ranks)
    assert len(asked) <= 11 + 4 * 5  # doubling, and some times for each of four that it was due


def test_epochs_that_are_shorter_and_what_lies_between_them_do_not_count() -> None:
    """They have checkpoints of their own; a longer one after many of them is kept in time."""
    steps = [(epoch, step) for epoch in range(1, 40) for step in range(1, 60)] + [(40, step) for step in range(1, 400)]
    now = itertools.accumulate(1.0 if step > 1 else 1000.0 for _, step in steps)
    pace = Pace(2, Ranks(), lambda: next(now))
    found = [at for at in steps if pace.due(*at)]
    assert {epoch for epoch, _ in found} == {40}
    assert 110 <= found[0][1] <= 122 + 30
    assert np.diff([step for _, step in found]).max() <= 121
