from __future__ import annotations

import numpy as np
import pytest

from capetune.evaluation.baselines import Template
from capetune.evaluation.evaluate import evaluate
from capetune.evaluation.intervals import FEWEST, over_categories, over_draws


def test_it_covers_the_mean_and_is_the_same_at_every_call():
    means = np.random.default_rng(0).normal(0.5, 0.1, 20)
    found = over_categories(means)
    assert found is not None
    assert found == over_categories(means)
    assert found.low < means.mean() < found.high
    half = 1.96 * means.std() / 20**0.5  # what a normal mean has
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.15)


def test_ninety_five_of_a_hundred_intervals_hold_the_truth():
    rng = np.random.default_rng(1)
    found = [over_categories(rng.normal(0.5, 0.1, 40)) for _ in range(100)]
    assert 86 <= sum(each is not None and each.low < 0.5 < each.high for each in found) <= 100


def test_draws_are_drawn_anew_within_their_category():
    """Categories far apart, episodes that hardly differ: the interval over draws knows nothing of the first."""
    rng = np.random.default_rng(2)
    episodes = [level + rng.normal(0, 0.01, 50) for level in np.linspace(0.1, 0.9, 8)]
    draws, categories = over_draws(episodes), over_categories([each.mean() for each in episodes])
    assert draws is not None
    assert categories is not None
    assert draws.high - draws.low == pytest.approx(2 * 1.96 * 0.01 / (8 * 50) ** 0.5, rel=0.25)
    assert categories.high - categories.low > 50 * (draws.high - draws.low)


def test_of_too_few_there_is_none():
    assert over_categories([0.5] * (FEWEST - 1)) is None
    assert over_categories([0.5] * FEWEST) is not None
    assert over_draws([np.array([0.1, 0.2]), np.array([0.3])]) is None
    assert over_draws([]) is None


def test_a_report_s_are_those_of_its_categories_and_episodes(make_part):
    report = evaluate(make_part(dict.fromkeys(range(1, 9), 20)), Template(), 1, 4)
    assert all(row.episodes.shape == (4,) for row in report.per_category)
    for row in report.per_category:
        assert row.episodes.mean() == pytest.approx(row.scores.mpck4)
    categories, draws = report.intervals["categories"], report.intervals["draws"]
    assert categories == over_categories([row.scores.mpck4 for row in report.per_category])
    assert categories is not None
    assert draws is not None
    assert report.to_json()["intervals"] == {"categories": categories.to_json(), "draws": draws.to_json()}
    assert draws.low < report.scores.mpck4 < draws.high
    single = evaluate(make_part({1: 20}), Template(), 1, 1).to_json()
    assert single["intervals"] == {"categories": None, "draws": None}
