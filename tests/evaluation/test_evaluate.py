from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from capetune.datasets.mp100.files import read_part
from capetune.errors import UserError
from capetune.evaluation.baselines import ByCategory, Center, Template
from capetune.evaluation.evaluate import evaluate
from capetune.evaluation.protocol import official_pairs, pair_visible

ANNOTATIONS = Path(__file__).parents[2] / ".." / "shared" / "data" / "mp100-annotations"


class Oracle(ByCategory):
    name = "oracle"

    def predict(self, category, instances, supports, queries):
        return np.stack([instance.xy for instance in instances])[queries]


class Broken(ByCategory):
    """Returns what `change` makes of a right answer."""

    name = "broken"

    def __init__(self, change):
        self.change = change

    def predict(self, category, instances, supports, queries):
        return self.change(Oracle().predict(category, instances, supports, queries))


def test_the_truth_scores_one_but_for_the_empty_pairs(make_part):
    report = evaluate(make_part({1: 20, 2: 30}, share=0.3), Oracle(), shots=2, episodes=10)
    assert report.scores.pairs == 300
    assert 0 < report.empty_pairs < 300
    share = 1 - report.empty_pairs / 300
    assert report.scores.pck == pytest.approx((share,) * 5)
    assert report.scores.mpck4 == pytest.approx(share)
    assert report.scores.mpck5 == pytest.approx(share)


def test_every_score_stands_beside_the_template_s_on_the_same_pairs(make_part):
    part = make_part({1: 20, 2: 30})
    center, template = evaluate(part, Center(), 1, 5), evaluate(part, Template(), 1, 5)
    assert center.template == template.template == template.scores
    assert center.scores != center.template
    assert [c.template for c in center.per_category] == [c.scores for c in template.per_category]


def test_a_report_is_a_few_lines_at_a_prompt(make_part):
    assert len(repr(evaluate(make_part(dict.fromkeys(range(1, 40), 20)), Center(), 1, 1))) < 1000


def test_the_score_is_the_mean_over_pairs(make_part):
    report = evaluate(make_part({1: 20, 2: 30}), Center(), 1, 5)
    mean = np.mean([c.scores.pck for c in report.per_category], axis=0)
    assert report.scores.pck == pytest.approx(tuple(mean))
    assert sum(c.scores.pairs for c in report.per_category) == report.scores.pairs


def test_the_report_says_what_was_left_out_and_how_it_was_taken(make_part):
    part = make_part({1: 20, 2: 9, 3: 0}, split=4, part="val", synthetic=True)
    document = evaluate(part, Center(), shots=5, episodes=20, queries=5).to_json()
    assert json.loads(json.dumps(document)) == document
    assert document["protocol"] == "sampled as officially, 20 episodes of 5 queries a category"
    assert (document["split"], document["part"], document["shots"]) == (4, "val", 5)
    assert (document["episodes"], document["queries"], document["pairs"]) == (20, 5, 100)
    assert (document["data"], document["predictor"]) == ("synthetic", "center")
    assert document["not_sampled"] == [
        {"id": 2, "name": "category 2", "instances": 9, "needed": 10},
        {"id": 3, "name": "category 3", "instances": 0, "needed": 10},
    ]
    assert document["missing_categories"] == [{"id": 3, "name": "category 3"}]
    assert list(document["per_category"]) == ["1"]
    assert list(document["pck"]) == ["0.05", "0.1", "0.15", "0.2", "0.25"]
    assert {"pck", "mpck4", "mpck5"} <= set(document["template"])
    assert {"name", "pairs", "pck", "mpck4", "mpck5"} <= set(document["per_category"]["1"])
    assert document["checkpoint"] is document["config_hash"] is None


def test_the_official_numbers_make_it_official(make_mp100):
    assert evaluate(make_mp100("val"), Center(), 1, 100).protocol == "official"


def test_a_part_that_can_not_be_sampled_is_said_with_its_cure(make_part):
    with pytest.raises(UserError, match=r"the largest has 9\); lower --queries or --shots"):
        evaluate(make_part({1: 9, 2: 0}), Center(), 1, 5)
    with pytest.raises(UserError, match=r"the largest has 0\)"):
        evaluate(make_part({}), Center(), 1, 5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda xy: xy[:, :-1], "exactly K keypoints"),
        (lambda xy: xy[:-1], "exactly K keypoints"),
        (lambda xy: np.where(xy > 100, np.nan, xy), "not finite"),
    ],
)
def test_a_broken_predictor_is_a_failure_not_a_score(make_part, change, said):
    with pytest.raises(ValueError, match=said):
        evaluate(make_part({1: 20}), Broken(change), 1, 5)


class Careless(Center):
    """Predicts these entries in this order."""

    def __init__(self, entries):
        self.entries = entries

    def predict_all(self, instances, pairs):
        found = dict(super().predict_all(instances, pairs))
        yield from ((entry, found[entry]) for entry in self.entries)


def test_categories_may_come_in_any_order(make_part):
    part = make_part({1: 20, 2: 30, 3: 25})
    mixed, plain = evaluate(part, Careless([2, 0, 1]), 1, 5), evaluate(part, Center(), 1, 5)
    assert mixed == plain


@pytest.mark.parametrize(("entries", "said"), [([0, 2], "2 of 3 categories"), ([0, 1, 1], r"category 2 \(2\) twice")])
def test_a_category_left_out_or_repeated_is_a_failure(make_part, entries, said):
    with pytest.raises(ValueError, match=said):
        evaluate(make_part({1: 20, 2: 30, 3: 25}), Careless(entries), 1, 5)


def test_progress_counts_the_categories(make_part):
    calls: list[tuple[int, int]] = []
    evaluate(make_part({1: 20, 2: 3, 3: 20}), Center(), 1, 2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]


# The numbers of the real files: PCK at four thresholds, mean of 4, mean of 5, empty pairs, pairs.
NUMBERS = """
split1_test center 0.011 0.039 0.086 0.158 0.074 0.113 0/60000
split1_test 1shot  0.109 0.265 0.401 0.511 0.321 0.377 0/60000
split1_test 5shot  0.101 0.265 0.418 0.556 0.335 0.402 16/60000
split3_test center 0.010 0.040 0.086 0.161 0.074 0.111 88/60000
split3_test 1shot  0.127 0.293 0.435 0.546 0.350 0.406 88/60000
split3_test 5shot  0.128 0.310 0.465 0.587 0.372 0.435 939/60000
split1_val  center 0.012 0.049 0.106 0.188 0.089 0.128 220/30000
split1_val  1shot  0.103 0.237 0.357 0.460 0.289 0.341 220/30000
split1_val  5shot  0.090 0.238 0.370 0.486 0.296 0.354 1709/30000
split3_val  center 0.016 0.055 0.117 0.198 0.097 0.135 142/30000
split3_val  1shot  0.090 0.222 0.342 0.448 0.276 0.328 142/30000
split3_val  5shot  0.083 0.215 0.349 0.471 0.279 0.339 1491/30000
"""


@cache
def real_part(name):
    if not ANNOTATIONS.is_dir():
        pytest.skip("no ../shared/data/mp100-annotations beside this checkout")
    return read_part(ANNOTATIONS / f"mp100_{name}.json", int(name[5]), name[7:])


@pytest.mark.parametrize("line", NUMBERS.strip().splitlines(), ids=lambda line: "-".join(line.split()[:2]))
def test_the_numbers_of_the_real_files_are_reproduced(line):
    name, how, *numbers, counts = line.split()
    predictor = Center() if how == "center" else Template()
    report = evaluate(real_part(name), predictor, 5 if how == "5shot" else 1, episodes=200)
    scores = report.scores
    assert [f"{x:.3f}" for x in (*scores.pck[:4], scores.mpck4, scores.mpck5)] == numbers
    assert f"{report.empty_pairs}/{scores.pairs}" == counts


def test_the_paper_s_measure_divides_by_the_image_s_diagonal_and_is_never_official(make_part):
    """Poses drawn in images of 640 × 480, whose diagonal is 800."""
    part = make_part({1: 20, 2: 30})
    center = evaluate(part, Center(), 1, 200, measure="paper")
    wanted = []
    for drawn in official_pairs(part, 1, 200).categories:
        group = part.instances[drawn.category.id]
        away = Center().predict(drawn.category, group, drawn.supports, drawn.queries)
        away = away - np.stack([group[query].xy for query in drawn.queries])
        seen = pair_visible(group, drawn)
        hits = (np.hypot(away[..., 0], away[..., 1]) < 0.2 * 800) & seen
        wanted.append(hits.sum(axis=1) / np.maximum(seen.sum(axis=1), 1))
    assert center.scores.pck[3] == pytest.approx(np.mean(wanted))
    assert center.protocol.startswith(
        "by the image's diagonal (the paper's preliminary measure), sampled as officially"
    )
    assert center.to_json()["measure"] == "paper"
    official = evaluate(part, Center(), 1, 200)
    assert official.protocol == (
        "sampled as officially, 200 episodes of 15 queries a category, categories that are not MP-100's"
    )
    assert official.to_json()["measure"] == "official"
    assert official.scores.nme > center.scores.nme
    assert official.failures == center.failures  # what is missed is told by the box
    assert official.pairs_hash == center.pairs_hash


def test_what_nobody_looks_at_costs_no_score(make_part):
    part = make_part({1: 20, 2: 30})
    looked, plain = evaluate(part, Center(), 1, 5), evaluate(part, Center(), 1, 5, looked=False)
    assert (plain.scores, plain.template, plain.intervals) == (looked.scores, looked.template, looked.intervals)
    assert looked.failures.missed > plain.failures.missed == 0
    assert not any(plain.examples.values())


def test_super_categories_are_means_over_their_categories_without_those_that_have_none(make_part):
    part = make_part({1: 20, 2: 30, 3: 25})
    names = {1: "bird", 2: "bird", 3: ""}
    part = replace(part, categories=tuple(replace(c, supercategory=names[c.id]) for c in part.categories))
    report = evaluate(part, Center(), 1, 5)
    assert list(report.supercategories) == ["bird"]
    found = report.to_json()["per_supercategory"]["bird"]
    rows = [row.scores for row in report.per_category[:2]]
    assert (found["categories"], found["pairs"]) == (2, 150)
    for name in ("mpck4", "auc", "nme", "epe"):
        assert found[name] == pytest.approx(np.mean([getattr(row, name) for row in rows]))
    assert found["template"]["mpck4"] == pytest.approx(np.mean([c.template.mpck4 for c in report.per_category[:2]]))
    assert evaluate(make_part({1: 20}), Center(), 1, 5).to_json()["per_supercategory"] == {}
