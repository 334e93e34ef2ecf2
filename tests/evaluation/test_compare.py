from __future__ import annotations

import pytest

from capetune.errors import UserError
from capetune.evaluation.compare import check_same_pairs, compare


def result(scores, **more):
    rows = {str(id): {"mpck4": score} for id, score in enumerate(scores)}
    return {"per_category": rows, "pairs_hash": "abc", "predictor": "model", **more}


def ours(scores):
    return {str(id): score for id, score in enumerate(scores)}


LEVELS = [0.1, 0.3, 0.5, 0.7, 0.2, 0.4, 0.6, 0.8]


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ([0.02, 0.03, 0.01, 0.04, 0.02, 0.03, 0.01, 0.02], "it is better"),
        ([-0.02, -0.03, -0.01, -0.04, -0.02, -0.03, -0.01, -0.02], "it is worse"),
        ([0.1, -0.1, 0.05, -0.04, 0.02, -0.03, 0.01, -0.02], "no difference is shown"),
        ([0.0] * 8, "no difference is shown"),
    ],
)
def test_categories_are_paired(steps, found):
    """Levels differ by far more than the two results do: unpaired, nothing could be told."""
    said = compare(ours([a + b for a, b in zip(LEVELS, steps, strict=True)]), result(LEVELS), "other.json")
    assert said.difference == pytest.approx(sum(steps) / 8)
    assert said.interval is not None
    assert said.interval.low <= said.difference + 1e-12
    assert said.difference - 1e-12 <= said.interval.high
    assert said.sentence.endswith(found)
    assert "other.json (model) on the same pairs" in said.sentence


def test_of_few_categories_no_verdict_is_given():
    said = compare(ours([0.9, 0.9]), result([0.1, 0.1]), "other.json")
    assert said.interval is None
    assert "mPCK4 is 0.800 above" in said.sentence
    assert "2 categories are too few to tell" in said.sentence


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ([], "is no result of an evaluation"),
        ({"pck": 1}, "is no result of an evaluation"),
        (result([0.5], pairs_hash=None), "doesn't say which pairs it is of"),
        (result([0.5], pairs_hash="xyz", split=2), r"is of other pairs \(xyz, split 2"),
    ],
)
def test_what_is_not_of_the_same_pairs_is_refused(other, said):
    with pytest.raises(UserError, match=said):
        check_same_pairs(other, "other.json", "abc")
    check_same_pairs(result([0.5]), "other.json", "abc")


@pytest.mark.parametrize("rows", [[], {}, {"0": {}}, {"0": {"mpck4": "x"}}, {"0": {"mpck4": float("nan")}}, {"1": 2}])
def test_damaged_scores_are_refused(rows):
    with pytest.raises(UserError, match=r"other\.json has no mpck4 in \[0, 1\] of each of the 1 categories"):
        compare(ours([0.5]), result([]) | {"per_category": rows}, "other.json")


def test_results_of_two_measures_are_not_compared():
    check_same_pairs(result(LEVELS, measure="paper"), "other.json", "abc", "paper")
    with pytest.raises(UserError, match=r"other\.json is measured by --protocol paper"):
        check_same_pairs(result(LEVELS, measure="paper"), "other.json", "abc")
    with pytest.raises(UserError, match=r"other\.json is measured by --protocol official"):
        check_same_pairs(result(LEVELS), "other.json", "abc", "paper")
