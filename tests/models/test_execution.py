from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch._subclasses import FakeTensorMode

from capetune.models import attention, execution
from capetune.models.execution import PAYS, SIZES, Way, padded_size, usual_device, way


@pytest.mark.parametrize(
    ("execution", "device", "steps", "wanted"),
    [
        ("auto", "cpu", 10 * PAYS, Way()),
        ("captured", "cpu", 0, Way()),
        ("compiled", "cpu", 0, Way(compiled=True)),
        ("eager", "cuda", 10 * PAYS, Way()),
        ("auto", "cuda", 0, Way(captured=True)),
        ("auto", "cuda", PAYS, Way(compiled=True, captured=True)),
        ("captured", "cuda:1", PAYS, Way(captured=True)),
        ("compiled", "cuda", 0, Way(compiled=True, captured=True)),
    ],
)
def test_how_it_is_run_follows_from_device_and_length(
    make_config: Callable, execution: str, device: str, steps: int, wanted: Way
) -> None:
    assert way(make_config(execution=execution), device, steps) == wanted


def test_without_a_compiler_no_kernel_is_asked_for(make_config: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "COMPILER", None)
    assert way(make_config(execution="auto"), "cuda", PAYS) == Way(captured=True)
    with FakeTensorMode(), torch.no_grad():
        queries = torch.empty(2, 3, 32, device="cuda")
        monkeypatch.setattr(attention, "COMPILER", "gcc")
        assert attention.few(queries, 4)
        monkeypatch.setattr(attention, "COMPILER", None)
        assert not attention.few(queries, 4)


@pytest.mark.parametrize(("cpus", "left"), [(1, 1), (3, 2)])
def test_pytorch_has_as_many_threads_as_asked_for_or_no_more_than_may_be_used(
    cpus: int, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    try:
        monkeypatch.setattr("capetune.models.execution.usable_cpus", lambda: 2)
        usual_device(cpus)
        assert torch.get_num_threads() == cpus
        usual_device()  # OMP_NUM_THREADS, or whoever else asked for fewer, has its way
        assert torch.get_num_threads() == left
    finally:
        torch.set_num_threads(before)


def test_poses_are_padded_to_few_sizes() -> None:
    sizes = {padded_size(k) for k in range(1, 101)}
    assert sizes == set(SIZES)
    assert all(padded_size(k) >= k for k in range(1, 300))
    assert padded_size(101) == 128
