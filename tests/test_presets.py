from __future__ import annotations

import pytest

from capetune.config import Config, config_value, load_preset, preset_names
from capetune.errors import UserError


def test_paper_is_table_1() -> None:
    paper = load_preset("paper")
    assert (paper.seed, paper.train.epochs, paper.train.batch_size, paper.train.learning_rate) == (42, 5, 8, 1e-4)
    assert (paper.model.backbone.name, paper.model.backbone.stride, paper.data.size) == ("resnet50", 32, 512)
    assert (paper.model.width, paper.model.heads) == (256, 8)
    assert (paper.model.support.layers, paper.model.decoder.layers) == (3, 6)
    assert (paper.loss.tokens, paper.loss.coordinates) == (1.0, 5.0)
    assert (paper.model.sequence, paper.model.support_at_step, paper.model.refine) == ("xy", False, False)
    assert (paper.model.backbone.frozen, paper.train.schedule, paper.train.input_noise) == (0, "constant", 0.0)
    assert paper.data.shots == ("all",)  # the category's mean pose
    assert (paper.validation.shots, paper.validation.episodes, paper.validation.queries) == (1, 100, 15)


def test_tiny_is_the_papers_scale() -> None:
    paper, tiny = load_preset("paper"), load_preset("tiny")
    same = (
        "seed",
        "train.epochs",
        "train.batch_size",
        "train.learning_rate",
        "data.size",
        "model.width",
        "loss.tokens",
    )
    assert [config_value(tiny, key) for key in same] == [config_value(paper, key) for key in same]


def test_full_is_tiny_for_300_epochs() -> None:
    assert load_preset("full") == load_preset("tiny").with_overrides({"train.epochs": 300})


def test_every_preset_loads() -> None:
    assert {"tiny", "full", "demo", "paper"} == set(preset_names())
    for name in preset_names():
        assert isinstance(load_preset(name), Config)


def test_an_absent_preset_names_those_there_are() -> None:
    with pytest.raises(UserError) as caught:
        load_preset("huge")
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in ("'huge'", "full", "tiny")), text
