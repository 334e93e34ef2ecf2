"""JSON schemas of configuration and space files: by them an editor completes keys and marks what is wrong.

They are made of the types that read those files. An editor is more lenient than we are: that values go together, and
ranges make sense, only reading tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from capetune.config import HASHED, Config, Section, leaf_keys
from capetune.runs.metrics import METRICS
from capetune.tuning.ranges import KINDS
from capetune.tuning.space import Header
from capetune.tuning.space_file import COMMON

DRAFT = {"$schema": "http://json-schema.org/draft-07/schema#"}


def config_schema() -> dict[str, Any]:
    """Of a file for `--config`: any part of the tree, its keys nested or dotted."""
    tree = _plain(Config)
    for section, object in _sections(tree):
        for key in leaf_keys(section):
            if "." in key:
                object["properties"][key] = _leaf(section, key, tree)
    return {**DRAFT, **tree}


def space_schema() -> dict[str, Any]:
    """Of a search space's file: a range for each key that may be searched, and how it is searched."""
    tree, header = _plain(Config), _plain(Header)
    values = {key: _leaf(Config, key, tree) for key in leaf_keys() if not key.startswith(COMMON)}
    numbers = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    scheduler = header["properties"]["scheduler"]
    names = header["$defs"]["SchedulerConfig"]["properties"]["name"]["enum"]
    metric = {"enum": [*METRICS]}
    header["properties"] |= {
        "metric": {"anyOf": [metric, {"type": "array", "items": metric, "minItems": 1, "maxItems": 2}]},
        "mode": _one_or_more({"enum": ["max", "min"]}),
        "scheduler": {"anyOf": [{"enum": names}, scheduler]},
        "points": {
            "type": "array",
            "items": {"type": "object", "properties": values, "additionalProperties": False},
            "description": header["properties"]["points"]["description"],
        },
    }

    def ranged(key: str) -> dict[str, Any]:
        kinds = {kind: {"type": "array", "minItems": 1} if kind == "choice" else numbers for kind in KINDS}
        kinds["choice"]["items"] = values[key]
        return {
            "type": "object",
            "properties": {**kinds, "step": {"type": "number"}, "when": {"type": "object"}},
            "additionalProperties": False,
            "oneOf": [{"required": [kind]} for kind in KINDS],
            **({"description": values[key]["description"]} if "description" in values[key] else {}),
        }

    header["properties"] |= {key: ranged(key) for key in values}
    return {**DRAFT, **header, "$defs": {**tree["$defs"], **header["$defs"]}}


def _plain(section: type[Section]) -> dict[str, Any]:
    """Pydantic's, without what is only ours; where it takes a list, a single entry is one too."""

    def cleaned(node: Any) -> Any:
        if isinstance(node, list):
            return [cleaned(each) for each in node]
        if not isinstance(node, dict):
            return node
        node = {name: cleaned(each) for name, each in node.items() if name not in (HASHED, "prefixItems")}
        return _one_or_more(node["items"], node) if node.get("type") == "array" and "items" in node else node

    tree: dict[str, Any] = cleaned(section.model_json_schema())
    return {"$defs": {}, **tree}


def _one_or_more(item: dict[str, Any], many: dict[str, Any] | None = None) -> dict[str, Any]:
    many = many or {"type": "array", "items": item}
    told: dict[str, Any] = {name: many[name] for name in ("description", "default", "title") if name in many}
    return {**told, "anyOf": [item, {"type": "array", "items": item}]}


def _sections(tree: dict[str, Any]) -> Iterator[tuple[type[Section], dict[str, Any]]]:
    """Each type of the configuration, with its object in the schema."""
    yield Config, tree
    left: list[type[Section]] = [Config]
    while left:
        for info in left.pop().model_fields.values():
            kind = info.annotation
            if isinstance(kind, type) and issubclass(kind, Section):
                left.append(kind)
                yield kind, tree["$defs"][kind.__name__]


def _leaf(section: type[Section], key: str, tree: dict[str, Any]) -> dict[str, Any]:
    """The schema of the value at a dotted key below a type of the configuration."""
    *path, last = key.split(".")
    kind: Any = section
    for name in path:
        kind = kind.model_fields[name].annotation
    found: dict[str, Any] = (tree if kind is Config else tree["$defs"][kind.__name__])["properties"][last]
    return found
