"""What is compiled gives what is written, and so do the gradients; with a compiler's front half, which needs no C++."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

from capetune.config import LossConfig
from capetune.models import compiled
from capetune.models.estimator import PoseEstimator
from capetune.models.execution import Way
from capetune.models.losses import total_loss
from capetune.pose import Batch


def outcome(model: PoseEstimator, batch: Batch) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
    """A training step's loss and gradients, and what the model predicts."""
    model.train().zero_grad()
    output = model(batch)
    loss = total_loss(output.logits, output.points, output.tokens, LossConfig())["loss"]
    loss.backward()
    grads = [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]
    return loss.detach(), grads, model.eval().predict(batch).xy


@pytest.mark.parametrize("changes", [{}, {"refine": True}], ids=["one pass", "refined"])
def test_compiled_is_equal_to_as_written(
    make_model: Callable, make_batch: Callable, sequence: str, changes: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    model, batch = make_model(sequence=sequence, **changes), make_batch(5, 3)
    before = compiled.programs()
    loss, grads, xy = outcome(copy.deepcopy(model), batch)
    assert compiled.programs() == before
    fast = outcome(copy.deepcopy(model.run_as(Way(compiled=True))), batch)
    torch.testing.assert_close(fast[0], loss)
    for got, wanted in zip(fast[1], grads, strict=True):
        assert (got - wanted).norm() <= 1e-2 * wanted.norm() + 1e-4  # BatchNorm over two images of 4 px amplifies
    torch.testing.assert_close(fast[2], xy, atol=1e-5, rtol=1e-5)
    made = compiled.programs()
    assert made > before
    outcome(copy.deepcopy(model), batch)
    assert compiled.programs() == made, "the same shapes were compiled again"


def test_what_is_compiled_again_is_told_once_with_what_differed() -> None:
    twice = compiled._compiled(lambda x: 2 * x, "eager")
    twice(torch.ones(3))
    compiled.compiled_again()
    for size in (3, 4, 5, 4):
        twice(torch.ones(size))
    told = compiled.compiled_again()
    assert [reason.partition("expected")[2] for reason in told] == [" 3, actual 4", " 4, actual 5"]
    assert compiled.compiled_again() == []


def test_a_process_s_next_training_has_room_for_its_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its limit reached, a function would be run as it is written."""
    monkeypatch.setattr(compiled, "PROGRAMS", 4)
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 4)
    counted = compiled._compiled(lambda x: x.sin() + 1, "eager")
    for round in (1, 2):
        compiled.make_room(3)
        before = compiled.programs()
        for size in range(2, 6):
            counted(torch.ones(round * 10 + size))
        assert compiled.programs() == before + 4
    compiled.make_room(5)
    before = compiled.programs()
    counted(torch.ones(99))
    assert compiled.programs() == before, "there was room, and the limit wasn't reached"
