"""YAML as people write it: read by version 1.2's core schema, a key given twice is an error.

PyYAML reads by version 1.1, where `1e-5` and `0o17` are words, `yes` and `on` truth, `1_000` and `1:30` numbers. Its
parser is fine, so only what turns plain scalars into values is replaced here. ruamel.yaml reads most of 1.2, but takes
1_000 and 0b1 for numbers and a date for an object, and would be a second library beside the one that Ray brings along.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml
from yaml.constructor import ConstructorError, SafeConstructor

from capetune.errors import UserError

Keys = tuple[str, ...]  # of a value in nested mappings, from the outermost in


def _whole(text: str) -> int:
    for prefix, base in (("0o", 8), ("0x", 16)):
        if text.startswith(prefix):
            return int(text[2:], base)
    return int(text)


def _number(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


# Tag → what a plain scalar looks like that has it (YAML 1.2.2, 10.3.2), and its value. In this order.
_CORE: dict[str, tuple[str, Callable[[str], Any]]] = {
    "null": (r"null|Null|NULL|~|", lambda text: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", lambda text: text[0] in "tT"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", _whole),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN",
        _number,
    ),
}
_TAG = "tag:yaml.org,2002:"


class _GivenTwice(yaml.MarkedYAMLError):
    """The second of two equal keys."""


class _Loader(yaml.SafeLoader):
    yaml_constructors: ClassVar[dict] = {
        _TAG + "str": SafeConstructor.construct_yaml_str,
        _TAG + "seq": SafeConstructor.construct_yaml_seq,
        _TAG + "map": SafeConstructor.construct_yaml_map,
        None: SafeConstructor.construct_undefined,
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        first: dict[Any, Any] = {}
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key_node.tag == _TAG + "merge":
                continue  # what is merged in is there to be written over
            key = self.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
            try:
                before = first.setdefault(key, key_node)
            except TypeError:
                raise ConstructorError(None, None, f"{key!r} can't be a key", key_node.start_mark) from None
            if before is not key_node:
                problem = f"{key} is given twice, first in line {before.start_mark.line + 1}; keep one of them"
                raise _GivenTwice(None, None, problem, key_node.start_mark)
        return super().construct_mapping(node, deep)


def _constructor(tag: str) -> Callable[[Any, Any], Any]:
    pattern, value = _CORE[tag]

    def construct(loader: Any, node: Any) -> Any:
        text = loader.construct_scalar(node)
        try:
            if re.fullmatch(pattern, text):
                return value(text)
        except ValueError:  # more digits than Python reads
            pass
        raise ConstructorError(None, None, f"{text[:40]!r} is no !!{tag}", node.start_mark)

    return construct


class _Dumper(yaml.SafeDumper):
    """Quotes what is no word to a reader of 1.1 or of 1.2, so that both read the same."""


_Loader.yaml_implicit_resolvers = {}
for _tag in _CORE:
    _like = re.compile(rf"(?:{_CORE[_tag][0]})\Z")
    _Loader.add_constructor(_TAG + _tag, _constructor(_tag))
    _Loader.add_implicit_resolver(_TAG + _tag, _like, None)
    _Dumper.add_implicit_resolver(_TAG + _tag, _like, None)
_Loader.add_implicit_resolver(_TAG + "merge", re.compile(r"<<\Z"), None)  # not in 1.2, but in people's files


@dataclass(frozen=True)
class Document:
    """A file's text, the value it holds, and the line at which each key stands, below those it stands in."""

    text: str
    tree: Any
    lines: dict[Keys, int]


def parse_yaml(text: str) -> Any:
    """Raises yaml.YAMLError where it is broken or a key is given twice."""
    return _parse(text)[0]


def dump_yaml(tree: Any) -> str:
    """What `parse_yaml` reads back as it was. Keys keep their order."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file. Raises UserError as `read_document` does."""
    return read_document(path).tree


def read_document(path: Path) -> Document:
    """Raises UserError where the file is absent, broken or gives a key twice, with the line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a text file in UTF-8") from None
    try:
        tree, root = _parse(text)
    except yaml.YAMLError as error:
        raise UserError(_in_words(path, error)) from None
    return Document(text, tree, dict(_lines(root)))


def _parse(text: str) -> tuple[Any, yaml.Node | None]:
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        _check_ends(root, (), set())
        return (None if root is None else loader.construct_document(root)), root  # type: ignore[no-untyped-call]
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    finally:
        loader.dispose()  # type: ignore[no-untyped-call]


def _check_ends(node: yaml.Node | None, within: tuple[yaml.Node, ...], done: set[int]) -> None:
    """An anchor's alias below itself makes a value without end."""
    if any(node is outer for outer in within):
        raise ConstructorError(None, None, "an alias stands within what it stands for", within[-1].start_mark)
    if isinstance(node, yaml.CollectionNode) and id(node) not in done:
        for item in node.value:
            for each in item if isinstance(item, tuple) else (item,):
                _check_ends(each, (*within, node), done)
        done.add(id(node))


def _lines(node: yaml.Node | None, above: Keys = ()) -> Iterator[tuple[Keys, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                yield (*above, key.value), key.start_mark.line + 1
                yield from _lines(value, (*above, key.value))


def _in_words(path: Path, error: yaml.YAMLError) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    where = f"{path}, line {mark.line + 1}" if mark else str(path)
    reason = str(problem or error).splitlines()[0]
    return f"{where}: {reason}" if isinstance(error, _GivenTwice) else f"{where}: not valid YAML ({reason})"
