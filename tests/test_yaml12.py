from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from capetune.errors import UserError
from capetune.yaml12 import dump_yaml, parse_yaml, read_document, read_yaml


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        *(("1e-5", 1e-5), ("1E5", 1e5), ("-1.5e+3", -1500.0), ("1.", 1.0), (".5", 0.5), ("6.02e23", 6.02e23)),
        *((".inf", math.inf), ("-.INF", -math.inf), ("+.Inf", math.inf)),
        *(("12", 12), ("-3", -3), ("+1", 1), ("010", 10), ("0o17", 15), ("0xfF", 255)),
        *(("true", True), ("False", False), ("TRUE", True), ("null", None), ("~", None), ("", None)),
        *((word, word) for word in ("yes", "No", "on", "OFF", "y", "n", "tRue", "nil", "inf", "nan", "-.nan", "=")),
        *((word, word) for word in ("1_000", "1:30", "1:30:00.5", "2026-11-26", "0b1", "0O17", "0x", "1e", "e5", ".")),
        *((f"'{word}'", word) for word in ("1", "true", "1e-5", "")),
    ],
)
def test_a_plain_scalar_is_what_yaml_1_2_says(text: str, wanted: Any) -> None:
    for value in (parse_yaml(text), parse_yaml(f"[{text or 'null'}]")[0], parse_yaml(f"key: {text}")["key"]):
        assert value == wanted
        assert type(value) is type(wanted)


def test_nan_is_a_number() -> None:
    assert math.isnan(parse_yaml(".NaN"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_what_is_written_is_read_back(tree: Any) -> None:
    assert parse_yaml(dump_yaml(tree)) == tree


@pytest.mark.parametrize("word", ["yes", "off", "1e5", "0o17", "017", "1_000", "1:30", "~", "null", ".5", "=", "<<"])
def test_words_like_numbers_are_quoted_for_readers_of_either_version(word: str) -> None:
    assert parse_yaml(dump_yaml([word])) == yaml.safe_load(dump_yaml([word])) == [word]


def test_keys_merged_in_from_an_anchor_may_be_written_over() -> None:
    assert parse_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n")["b"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\ntrain:\n  epochs: [1\nmodel: 3\n", "line 4: not valid YAML"),
        ("a: 1\nb: 2\na: 3\n", "line 3: a is given twice, first in line 1; keep one of them"),
        ("a:\n- {b: 1, c: {d: 1,\n    d: 2}}\n", "line 3: d is given twice, first in line 2"),
        ("1: a\n0x1: b\n", "line 2: 1 is given twice, first in line 1"),
        ("a: &a\n  b: *a\n", "line 1: not valid YAML (an alias stands within what it stands for)"),
        ("{[1]: 2}", "line 1: not valid YAML ([1] can't be a key)"),
        ("a: !!int 1_000", "line 1: not valid YAML ('1_000' is no !!int)"),
        ("a: " + "9" * 5000, "line 1: not valid YAML ('9999"),
        ("a: !!python/name:os.system", "line 1: not valid YAML (could not determine a constructor"),
        ("[" * 3000, "not valid YAML (it is nested too deeply)"),
        ("a: \x00", "not valid YAML (unacceptable character"),
        ("a\n---\nb\n", "line 2: not valid YAML (but found another document)"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "odd.yaml").write_text(text)
    with pytest.raises(UserError) as error:
        read_yaml(tmp_path / "odd.yaml")
    assert f"odd.yaml{'' if said.startswith('not') else ','}" in str(error.value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_files_in_another_coding_are_said_and_a_mark_of_utf_8_is_none_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_bytes("\ufeffa: ä\n".encode())
    assert read_yaml(tmp_path / "one.yaml") == {"a": "ä"}
    (tmp_path / "two.yaml").write_bytes("a: ä\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"two.yaml is not a text file in UTF-8"):
        read_yaml(tmp_path / "two.yaml")


def test_each_key_is_known_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("a: 1\nb:\n  c: {d: 2}\n")
    document = read_document(tmp_path / "one.yaml")
    assert document.lines == {("a",): 1, ("b",): 2, ("b", "c"): 3, ("b", "c", "d"): 3}
