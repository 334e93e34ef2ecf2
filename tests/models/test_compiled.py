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
