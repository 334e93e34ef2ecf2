"""Which pairs are chosen to be looked at, out of a whole evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from capetune.evaluation.baselines import ByCategory, Center, Template
from capetune.evaluation.evaluate import evaluate
from capetune.evaluation.examples import FAILED, GROUPS, SHOWN


class Odd(ByCategory):
    """The truth, but for the queries (annotation ids) whose answer `planted` makes of their true keypoints."""

    name = "odd"

    def __init__(self, planted):
        self.planted = planted

    def predict(self, category, instances, supports, queries):
        return np.stack(
            [self.planted.get(each.id, lambda xy: xy)(each.xy) for each in (instances[query] for query in queries)]
        )


class Backwards:
    """A predictor's categories in the opposite order."""

    name = "template"

    def predict_all(self, instances, pairs):
        yield from reversed(list(Template().predict_all(instances, pairs)))


@pytest.fixture
def part(make_part):
    return make_part({1: 20, 2: 30, 3: 25}, share=1.0)


def ids(examples):
    return [each.annotation_id for each in examples]


def test_a_planted_failure_is_the_worst_and_the_only_one_of_its_kind(part):
    far, heap = (part.instances[category][4].id for category in (1, 2))
    planted = {far: lambda xy: xy + 1000, heap: lambda xy: xy.mean(axis=0) + (xy - xy.mean(axis=0)) * 0.01}
    report = evaluate(part, Odd(planted), 1, episodes=10)
    chosen = report.examples
    assert list(chosen) == list(GROUPS)
    assert ids(chosen["far"]) == [far]
    assert ids(chosen["collapsed"]) == [heap]
    assert set(ids(chosen["worst"])[:2]) == {far, heap}
    assert not {far, heap} & {*ids(chosen["best"]), *ids(chosen["typical"])}
    assert chosen["copied"] == chosen["exchanged"] == ()
    assert report.failures.missed == sum(report.failures.kinds)
    assert report.failures.kinds[FAILED.index("far")] % 4 == 0


def test_groups_are_small_and_share_between_categories_without_a_picture_twice(part):
    for group in evaluate(part, Center(), 1, episodes=20).examples.values():
        assert len(group) <= SHOWN
        assert len({each.annotation_id for each in group}) == len(group)
        assert all(sum(each.category_id == id for each in group) <= 2 for id in (1, 2, 3))


def test_best_typical_and_worst_are_in_order_and_have_the_pairs_own_scores(part):
    report = evaluate(part, Center(), 1, episodes=20)
    means = [np.mean([each.mpck4 for each in report.examples[name]]) for name in ("best", "typical", "worst")]
    assert means[0] > means[2]
    assert means[0] >= means[1] >= means[2]
    scores = [each.mpck4 for each in report.examples["best"]]
    assert scores == sorted(scores, reverse=True)


def test_a_category_alone_fills_a_group(make_part):
    report = evaluate(make_part({1: 30}), Center(), 1, episodes=10)
    assert len(report.examples["worst"]) == SHOWN


def test_many_categories_give_one_pair_each_at_most(make_part):
    report = evaluate(make_part(dict.fromkeys(range(1, 12), 16)), Center(), 1, episodes=2)
    assert len({each.category_id for each in report.examples["best"]}) == SHOWN


def test_what_was_predicted_is_kept_with_its_pair(part):
    report = evaluate(part, Center(), 2, episodes=10)
    for example in report.examples["best"]:
        group = {each.id: each for each in part.instances[example.category_id]}
        box = group[example.annotation_id].box
        np.testing.assert_allclose(example.xy, np.tile(box[:2] + box[2:] / 2, (4, 1)))
        assert len(set(example.support_ids)) == 2
        assert example.annotation_id not in example.support_ids


def test_pairs_without_a_common_keypoint_are_never_shown(make_part):
    part = make_part({1: 30}, share=0.3)
    report = evaluate(part, Center(), 1, episodes=20)
    assert report.empty_pairs
    group = {each.id: each for each in part.instances[1]}
    for example in (each for examples in report.examples.values() for each in examples):
        assert (group[example.annotation_id].visible & group[example.support_ids[0]].visible).any()


def test_the_order_in_which_categories_come_changes_nothing(part):
    there, back = (evaluate(part, predictor, 1, episodes=10).to_json() for predictor in (Template(), Backwards()))
    assert there == back


def test_the_template_misses_by_copying_and_nothing_else_but_heaps(part):
    failures = evaluate(part, Template(), 1, episodes=10).failures
    assert failures.missed == failures.template_missed > 0
    assert failures.kinds[0] + failures.kinds[1] == failures.missed
