from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from capetune.config import (
    Config,
    Section,
    check_key,
    hashed,
    leaf_keys,
    load_config,
    newer,
    parse_config,
    parse_setting,
)
from capetune.errors import UserError
from capetune.yaml12 import parse_yaml

OTHER: dict[str, Any] = {  # for each key a value that isn't the default
    "seed": 7,
    "model.sequence": "point",
    "model.vocabulary": 64,
    "model.width": 128,
    "model.heads": 4,
    "model.dropout": 0.2,
    "model.decode": "both",
    "model.refine": True,
    "model.support_at_step": False,
    "model.support.source": "both",
    "model.backbone.precision": "bfloat16",
    "model.execution": "eager",
    "model.backbone.name": "efficientnet_lite0",
    "model.backbone.weights": "none",
    "model.backbone.stride": 16,
    "model.backbone.frozen": "all",
    "model.support.layers": 2,
    "model.decoder.layers": 3,
    "model.decoder.points": 8,
    "loss.tokens": 0.2,
    "loss.coordinates": 2.0,
    "loss.smoothing": 1.5,
    "data.split": 3,
    "data.size": 256,
    "data.shots": (5,),
    "data.rotation": 30.0,
    "data.scale": 0.3,
    "data.flip": 0.5,
    "data.workers": 2,
    "data.balance": "categories",
    "data.max_corrupt": 0.01,
    "train.epochs": 9,
    "train.batch_size": 16,
    "train.steps": 100,
    "train.accumulate": 2,
    "train.learning_rate": 1e-3,
    "train.backbone_rate": 0.1,
    "train.weight_decay": 0.0,
    "train.warmup": 10,
    "train.schedule": "cosine",
    "train.clip": 0.5,
    "train.save_minutes": 7.5,
    "train.patience": 4,
    "train.ema": 0.99,
    "train.input_noise": 0.05,
    "train.prefix_dropout": 0.3,
    "validation.shots": 5,
    "validation.episodes": 3,
    "validation.queries": 4,
}


NO_RESULT = {"train.save_minutes"}  # depends on them: a run may go on with others


def get(config: Config, key: str) -> Any:
    for name in key.split("."):
        config = getattr(config, name)
    return config


def refused(do: Any, *words: str) -> None:
    with pytest.raises(UserError) as caught:
        do()
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text


def test_every_key_has_a_value_to_try_here() -> None:
    assert set(OTHER) == set(leaf_keys())


@pytest.mark.parametrize("key", OTHER)
def test_each_key_can_be_set_and_changes_the_hash(key: str) -> None:
    base = Config()
    changed = base.with_overrides({key: OTHER[key]})
    assert get(changed, key) == OTHER[key] != get(base, key)
    assert (changed.hash() != base.hash()) == (key not in NO_RESULT)
    assert changed.with_overrides({key: get(base, key)}) == base
    assert [k for k in leaf_keys() if get(changed, k) != get(base, k)] == [key]


@given(st.dictionaries(st.sampled_from(sorted(OTHER)), st.booleans()))
def test_hashes_are_equal_where_configurations_are(chosen: dict[str, bool]) -> None:
    pick = {key: OTHER[key] for key, other in chosen.items() if other}
    one, two = Config().with_overrides(pick), Config()
    for key, value in reversed(pick.items()):
        two = two.with_overrides({key: value})
    assert one == two
    assert one.hash() == two.hash()
    assert len(one.hash()) == 12
    assert (one.hash() == Config().hash()) == (pick.keys() <= NO_RESULT)


def test_writing_a_value_otherwise_doesnt_change_the_hash() -> None:
    whole = Config().with_overrides({"loss.coordinates": 5, "data.shots": [1, 5], "train.learning_rate": "1e-4"})
    assert whole.hash() == Config().hash()


def test_runs_that_were_begun_before_a_key_came_can_go_on() -> None:
    """Their hashes are kept: a new key is declared by `newer`."""
    assert Config().hash() == "f58738333ea9"


class Inner(Section):
    old: int = 1
    new: int = newer(2)
    free: int = newer(3, "never")


class Outer(Section):
    inner: Inner = Inner()
    plain: bool = True


def test_a_newer_key_counts_where_it_is_set_and_one_without_a_result_never() -> None:
    assert hashed(Outer()) == {"inner": {"old": 1}, "plain": True}
    assert hashed(Outer(inner=Inner(old=5, new=6, free=7))) == {"inner": {"old": 5, "new": 6}, "plain": True}


@pytest.mark.parametrize("read", [parse_yaml, yaml.safe_load])  # ours, and other people's of version 1.1
@pytest.mark.parametrize("weights", ["none", "yes", "1e5", "0o17", "1:30", "~", "ä.pth"])
def test_yaml_round_trip(read: Any, weights: str) -> None:
    config = Config().with_overrides(OTHER | {"train.learning_rate": 1e-5, "model.backbone.weights": weights})
    assert parse_config(read(config.to_yaml())) == config


def test_a_file_written_by_version_1_1_is_the_same_configuration(tmp_path: Path) -> None:
    """As all were that earlier versions of capetune wrote."""
    config = Config().with_overrides(OTHER | {"train.learning_rate": 1e-5, "model.backbone.weights": "on"})
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    assert load_config("tiny", tmp_path / "old.yaml") == config


def test_numbers_in_a_file_are_those_that_people_write(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("train: {learning_rate: 1e-5, steps: 010}\nloss: {tokens: 2e0}\n")
    config = load_config("tiny", tmp_path / "mine.yaml")
    assert (config.train.learning_rate, config.train.steps, config.loss.tokens) == (1e-5, 10, 2.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\ndata: {size: 64}\ndata: {size: 96}\n", "line 3: data is given twice, first in line 2; keep one"),
        ("data:\n  size: 64\n  split: 2\n  size: 96\n", "line 4: size is given twice, first in line 2"),
        ("data: {size: 64}\ndata.size: 96\n", "line 2: data.size is given twice, first in line 1"),
        ("data.size: 96\ndata:\n  size: 64\n", "line 3: data.size is given twice, first in line 1"),
    ],
)
def test_a_key_given_twice_is_refused_with_both_lines(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    refused(lambda: load_config(file=tmp_path / "mine.yaml"), f"mine.yaml, {said}")


def test_a_configuration_is_frozen_throughout() -> None:
    config = Config()
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 3  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        config.model.decoder.layers = 3  # type: ignore[misc]


def test_overriding_leaves_the_original_alone() -> None:
    config = Config()
    config.with_overrides(OTHER)
    assert config == Config()


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("model.decoder.layer", "model.decoder.layers"),
        ("train.lerning_rate", "train.learning_rate"),
        ("learning_rate", "train.learning_rate"),
        ("train.seed", "seed"),
        ("model.backbone.layers.stride", "model.backbone.stride"),
    ],
)
def test_an_unknown_key_names_the_nearest(wrong: str, right: str) -> None:
    refused(lambda: Config().with_overrides({wrong: 1}), repr(wrong), f"did you mean '{right}'")


def test_a_key_like_none_says_where_to_look() -> None:
    refused(lambda: check_key("zzzzzzzz"), "zzzzzzzz", "`capetune config`")


@pytest.mark.parametrize("section", ["model", "model.backbone", "train"])
def test_a_section_cant_be_set(section: str) -> None:
    refused(lambda: Config().with_overrides({section: {"x": 1}}), f"{section!r} is a section", f"{section}.")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.sequence", "polygon"),
        ("model.dropout", 1.0),
        ("model.backbone.stride", 12),
        ("seed", -1),
        ("seed", 2**32),
        ("train.learning_rate", 0),
        ("train.learning_rate", -1),
        ("train.learning_rate", float("nan")),
        ("train.learning_rate", float("inf")),
        ("train.epochs", 2.5),
        ("train.epochs", "many"),
        ("train.epochs", None),
        ("data.size", 100),
        ("data.split", 6),
        ("data.shots", []),
        ("data.shots", [0]),
        ("data.shots", [1, -5]),
        ("validation.queries", 0),
    ],
)
def test_a_value_that_doesnt_fit_names_its_key(key: str, value: object) -> None:
    refused(lambda: Config().with_overrides({key: value}), key)


def test_heads_must_divide_the_width() -> None:
    refused(lambda: Config().with_overrides({"model.width": 100}), "width 100", "heads (8)")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("train.learning_rate=1e-4", 1e-4),
        ("train.learning_rate=1E-4", 1e-4),
        ("train.learning_rate=0.001", 1e-3),
        ("model.decoder.layers=4", 4),
        ("model.support_at_step=false", False),
        ("model.backbone.weights=none", "none"),
        ("model.backbone.weights=dir/a=b.pth", "dir/a=b.pth"),
        ("train.steps=null", None),
        ("data.shots=[1, 5]", [1, 5]),
        ("train.steps=0o17", 15),
        ("model.refine=yes", "yes"),
        ("model.backbone.weights=nan", "nan"),
        ("model.backbone.weights=1_000", "1_000"),
        ("model.backbone.weights='1e5'", "1e5"),
        ("model.backbone.weights=2026-11-26", "2026-11-26"),
    ],
)
def test_settings_are_read_as_yaml(text: str, wanted: object) -> None:
    key, value = parse_setting(text)
    assert key == text.split("=")[0]
    assert value == wanted
    assert type(value) is type(wanted)
    Config().with_overrides({key: value})


@pytest.mark.parametrize("text", ["train.epochs", "=3", "", "train.epochs 3"])
def test_a_setting_without_equals_is_refused(text: str) -> None:
    refused(lambda: parse_setting(text), "key=value")


def test_a_setting_that_is_no_yaml_is_refused() -> None:
    refused(lambda: parse_setting("data.shots=[1, 5"), "data.shots", "not a YAML value")


def test_file_goes_over_preset_and_settings_over_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("train: {epochs: 7, batch_size: 2}\nmodel: {decoder: {layers: 2}}\n")
    config = load_config("full", file, ["train.batch_size=4", "train.learning_rate=1e-3"])
    assert (config.train.epochs, config.train.batch_size, config.train.learning_rate) == (7, 4, 1e-3)
    assert config.model.decoder.layers == 2
    assert config.model.decoder.points == 4


def test_a_file_written_by_to_yaml_is_a_whole_configuration(tmp_path: Path) -> None:
    config = Config().with_overrides(OTHER)
    (tmp_path / "all.yaml").write_text(config.to_yaml())
    assert load_config("tiny", tmp_path / "all.yaml") == config


def test_a_file_that_cant_be_read_is_named(tmp_path: Path) -> None:
    refused(lambda: load_config(file=tmp_path / "absent.yaml"), "absent.yaml")
    (tmp_path / "image.yaml").write_bytes(b"\xff\xd8\xff\xe0")
    refused(lambda: load_config(file=tmp_path / "image.yaml"), "image.yaml")


@pytest.mark.parametrize("text", ["", "3", "- a\n- b\n", "text"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "odd.yaml").write_text(text)
    refused(lambda: load_config(file=tmp_path / "odd.yaml"), "odd.yaml", "mapping")


@pytest.mark.parametrize("text", ["model: 3", "model:", "trian: {epochs: 1}", "train: {epoch: 1}", "1: 2"])
def test_a_file_with_wrong_keys_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "odd.yaml").write_text(text)
    refused(lambda: load_config(file=tmp_path / "odd.yaml"))


@pytest.mark.parametrize("tree", [None, [], 3, {"model": 3}, {"model": None}, {"trian": {}}, {1: 2}, {"seed": {}}])
def test_a_tree_that_is_none_is_refused(tree: object) -> None:
    refused(lambda: parse_config(tree))


def test_shots_may_be_one_or_come_as_text() -> None:
    """A search space's lists reach the configuration as JSON text, for Optuna stores no lists."""
    for one, wanted in ((5, (5,)), ("all", ("all",)), ("[1, 5]", (1, 5)), ('["all", 1]', ("all", 1)), ([2], (2,))):
        assert Config().with_overrides({"data.shots": one}).data.shots == wanted
    for wrong in ("some", "[1,", "[]", [0], "[0]"):
        refused(lambda wrong=wrong: Config().with_overrides({"data.shots": wrong}), "data.shots")


def test_images_of_all_supports_are_too_many() -> None:
    with pytest.raises(UserError, match=r"too many to look at: give numbers, such as data.shots=\[1,5\]"):
        Config().with_overrides({"model.support.source": "features", "data.shots": "all"})
