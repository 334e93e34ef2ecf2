from __future__ import annotations

from dataclasses import replace

import numpy as np

from capetune.evaluation.baselines import Center, Template
from capetune.evaluation.protocol import official_pairs


def drawn(make_part, shots=3):
    part = make_part({1: 20})
    (pairs,) = official_pairs(part, shots, episodes=4, queries=5).categories
    return part.categories[0], part.instances[1], pairs.supports, pairs.queries


def test_the_template_is_the_mean_support_placed_in_the_query_s_box(make_part):
    category, instances, supports, queries = drawn(make_part)
    predicted = Template().predict(category, instances, supports, queries)
    assert predicted.shape == (20, 4, 2)
    assert predicted.dtype == np.float64
    for n in range(20):
        box = instances[queries[n]].box
        for k in range(4):
            shown = [instances[s] for s in supports[n] if instances[s].visible[k]]
            poses = [(i.xy[k] - i.box[:2]) / i.box[2:] for i in shown]
            mean = np.mean(poses, axis=0) if poses else np.array([0.5, 0.5])
            np.testing.assert_allclose(predicted[n, k], box[:2] + mean * box[2:])


def test_the_center_is_the_middle_of_the_query_s_box(make_part):
    category, instances, supports, queries = drawn(make_part)
    predicted = Center().predict(category, instances, supports, queries)
    for n in range(20):
        box = instances[queries[n]].box
        np.testing.assert_allclose(predicted[n], np.tile(box[:2] + box[2:] / 2, (4, 1)))


def test_a_query_s_own_keypoints_never_reach_its_prediction(make_part):
    category, instances, supports, queries = drawn(make_part)
    query = int(queries[0])
    changed = list(instances)
    changed[query] = replace(instances[query], xy=instances[query].xy + 1000, visible=~instances[query].visible)
    asked = queries == query
    for baseline in (Template(), Center()):
        before = baseline.predict(category, instances, supports, queries)
        after = baseline.predict(category, changed, supports, queries)
        np.testing.assert_array_equal(before[asked], after[asked])


def test_moving_a_support_moves_the_template(make_part):
    category, instances, supports, queries = drawn(make_part, shots=1)
    support = int(supports[0, 0])
    changed = list(instances)
    changed[support] = replace(instances[support], xy=instances[support].xy + 5, visible=np.ones(4, bool))
    before = Template().predict(category, instances, supports, queries)
    after = Template().predict(category, changed, supports, queries)
    assert (before[0] != after[0]).all()
