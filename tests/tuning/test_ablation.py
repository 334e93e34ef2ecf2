"""What `sampler: ablation` tries: the default, and each key's values with all others at the default."""

from __future__ import annotations

import pytest
from ray.tune.search import Searcher

from capetune.errors import UserError
from capetune.tuning.space import Budget

from .test_searcher import Proposals

ABLATION = """sampler: ablation
repeats: 3
model.decoder.layers: {int: [2, 4]}
loss.tokens: {uniform: [0.1, 0.3], step: 0.1}
"""
LAYERS, TOKENS = "model.decoder.layers", "loss.tokens"


def test_one_key_at_a_time_is_changed_and_then_nothing_more_is_tried(search, config):
    one = search(ABLATION, budget=Budget(trials=9))
    made, tried = Proposals(one, fresh=9), []
    while (proposed := made.next()) != Searcher.FINISHED:
        tried.append(proposed["overrides"])
    assert one.config == config
    assert tried == [
        {LAYERS: 3, TOKENS: 0.2},
        {LAYERS: 2, TOKENS: 0.2},
        {LAYERS: 4, TOKENS: 0.2},
        {LAYERS: 3, TOKENS: 0.1},
        {LAYERS: 3, TOKENS: 0.3},
    ]
    assert one.space.header.scheduler.name == "none"


def test_a_grid_has_the_default_once_where_steps_are_not_exact(read, config):
    space = read("sampler: grid\nloss.tokens: {uniform: [0.1, 0.5], step: 0.1}\n")
    points = space.points(config.with_overrides({TOKENS: 0.3}))
    assert [point[TOKENS] for point in points] == [0.3, 0.1, 0.2, 0.4, 0.5]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{ABLATION}scheduler: asha\n", "line 5: scheduler: an ablation compares trials that were trained to their"),
        ("sampler: ablation\nloss.tokens: {log: [0.05, 2]}\n", "line 2: loss.tokens: an ablation tries every value"),
        (
            "sampler: ablation\nmodel.sequence: {choice: [point, xy]}\n"
            "model.vocabulary: {choice: [64, 128], when: {model.sequence: xy}}\n",
            "line 3: model.vocabulary: an ablation changes one key at a time, and this isn't the default's; start from",
        ),
        ("sampler: ablation\nmodel.width: {choice: [96, 100]}\n", "width"),
    ],
)
def test_what_can_not_be_told_apart_is_refused(read, config, text, said):
    with pytest.raises(UserError, match=said):
        read(text, config.with_overrides({"model.sequence": "point"}))
