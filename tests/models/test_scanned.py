"""The loop that is exported: the same steps as in Python. What it gives is in tests/integration/test_export.py."""

from __future__ import annotations

import pytest
import torch

from capetune.models.scanned import CALLS, traced_layout
from capetune.models.tokens import Kind, layout


@pytest.mark.parametrize("keypoints", [1, 2, 7])
def test_a_layout_of_a_symbol_s_size_is_that_of_the_number(sequence: str, keypoints: int) -> None:
    wanted, found = layout(sequence, keypoints), traced_layout(sequence, keypoints)
    for name in ("kind", "keypoint", "entering", "x", "y"):
        assert torch.equal(getattr(found, name), getattr(wanted, name)), name


def test_the_calls_of_all_keypoints_take_every_step_once_but_the_end(sequence: str) -> None:
    plan, calls = layout(sequence, 3), CALLS[sequence]
    length = sum(map(len, calls))
    taken = [number * length + step for number in range(3) for call in calls for step in call]
    inside = [step for step in taken if step >= 0]
    ends = [number * length + call[-1] for number in range(3) for call in calls]
    assert inside == list(range(len(inside)))
    assert ends == [step for step, (kind, _) in enumerate(plan.steps) if kind >= Kind.X]
