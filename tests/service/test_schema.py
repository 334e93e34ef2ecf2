"""The schemas that editors take, by a validator of theirs."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft7Validator

from capetune.config import PRESET_FOLDER, Config
from capetune.service.schema import config_schema, space_schema
from capetune.tuning.space_file import BUILT_IN
from capetune.yaml12 import parse_yaml, read_yaml


@pytest.fixture(scope="module")
def config() -> Draft7Validator:
    Draft7Validator.check_schema(config_schema())
    return Draft7Validator(config_schema())


@pytest.fixture(scope="module")
def space() -> Draft7Validator:
    Draft7Validator.check_schema(space_schema())
    return Draft7Validator(space_schema())


def wrong(validator: Draft7Validator, tree: Any) -> list[str]:
    return [error.message for error in validator.iter_errors(tree)]


@pytest.mark.parametrize("file", sorted(PRESET_FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_preset_is_right(file, config) -> None:
    assert wrong(config, read_yaml(file)) == []


def test_what_we_write_is_right_and_so_are_dotted_keys(config) -> None:
    assert wrong(config, parse_yaml(Config().to_yaml())) == []
    assert wrong(config, {"model.decoder.layers": 4, "model": {"backbone.frozen": "all"}, "data": {"shots": 5}}) == []


@pytest.mark.parametrize(
    "tree",
    [
        {"model": {"decoder": {"layer": 4}}},
        {"model.decoder.layers": "many"},
        {"train": {"schedule": "linear"}},
        {"data": {"split": 6}},
    ],
)
def test_what_reading_would_refuse_is_marked(tree, config) -> None:
    assert len(wrong(config, tree)) == 1


@pytest.mark.parametrize("file", sorted(BUILT_IN.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_built_in_space_is_right(file, space) -> None:
    assert wrong(space, read_yaml(file)) == []


@pytest.mark.parametrize(
    "line",
    [
        "loss.tokens: {log: [0.05]}",
        "loss.tokens: {lag: [0.05, 1]}",
        "loss.token: {log: [0.05, 1]}",
        "train.epochs: {int: [1, 5]}",
        "model.sequence: {choice: [xy, points]}",
        "metric: mpck",
        "scheduler: {name: asha, grace: 0}",
        "budget: {trial: 3}",
        "points: [{loss.tokens: x}]",
    ],
)
def test_a_range_or_a_key_that_is_none_is_marked(line, space) -> None:
    assert wrong(space, parse_yaml(line)) != []


def test_all_that_a_space_may_say_is_right(space) -> None:
    text = """
metric: [mpck4, generate_ms]
mode: [max, min]
sampler: nsga2
scheduler: none
budget: {trials: 40, epochs: 400, hours: 8, stale: 15}
points:
  - {loss.tokens: 0.5}
model.decoder.layers: {int: [2, 6], step: 2}
data.shots: {choice: [[1], [1, 5]]}
model.vocabulary: {choice: [64, 128], when: {model.sequence: xy}}
"""
    assert wrong(space, parse_yaml(text)) == []
