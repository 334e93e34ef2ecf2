from __future__ import annotations

from collections.abc import Callable

import pytest

from capetune.models.execution import PAYS, SIZES, Way, padded_size, way


@pytest.mark.parametrize(
    ("execution", "device", "world", "steps", "wanted"),
    [
        ("auto", "cpu", 1, 10 * PAYS, Way()),
        ("captured", "cpu", 1, 0, Way()),
        ("compiled", "cpu", 1, 0, Way(compiled=True)),
        ("eager", "cuda", 1, 10 * PAYS, Way()),
        ("auto", "cuda", 1, 0, Way(captured=True)),
        ("auto", "cuda", 1, PAYS, Way(compiled=True, captured=True)),
        ("captured", "cuda:1", 1, PAYS, Way(captured=True)),
        ("auto", "cuda", 2, PAYS, Way()),
        ("compiled", "cuda", 2, PAYS, Way(compiled=True)),
        ("auto", "cuda", 2, 0, Way()),
    ],
)
def test_how_it_is_run_follows_from_device_workers_and_length(
    make_config: Callable, execution: str, device: str, world: int, steps: int, wanted: Way
) -> None:
    assert way(make_config(execution=execution), device, world, steps) == wanted


def test_poses_are_padded_to_few_sizes() -> None:
    sizes = {padded_size(k) for k in range(1, 101)}
    assert sizes == set(SIZES)
    assert all(padded_size(k) >= k for k in range(1, 300))
    assert padded_size(101) == 128
