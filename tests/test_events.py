from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import Any

import pytest

from capetune import events, trial_events
from capetune.events import EpochDone, Event, StepBegan

THERE = {**vars(events), **vars(trial_events)}.values()
KINDS = [kind for kind in THERE if isinstance(kind, type) and issubclass(kind, Event)][1:]
VALUES = {"int": 1, "str": "x", "float": 0.5, "bool": True}


def example(kind: type[Event]) -> Event:
    """One with a value for each field that has no default."""
    asked = [f for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    found: dict[str, Any] = {f.name: VALUES.get(str(f.type).removesuffix(" | None"), {}) for f in asked}
    return kind(**found)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_event_is_frozen_has_a_contract_and_is_a_line_of_json(kind: type[Event]) -> None:
    event = example(kind)
    tree = json.loads(json.dumps(event.to_json()))
    assert tree.pop("event") == event.kind
    assert set(tree) == {f.name for f in fields(kind)}
    with pytest.raises(AttributeError):
        event.run = "another"  # type: ignore[attr-defined]
    assert kind.__doc__
    assert not kind.__doc__.startswith(kind.__name__)


def test_its_kind_is_its_name_in_words() -> None:
    assert EpochDone("run", 1, {}).kind == "epoch_done"
    assert StepBegan("ray").to_json() == {"event": "step_began", "step": "ray", "what": ""}


def test_kinds_are_told_apart() -> None:
    assert len({example(kind).kind for kind in KINDS}) == len(KINDS)
