from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from capetune.errors import Diverged, UserError
from capetune.training.divergence import EVERY, Watch, check_scores


def group(*ids: int) -> list:
    return [SimpleNamespace(ids=torch.tensor([id, id + 1])) for id in ids]


def test_the_first_bad_step_is_named_with_its_instances_at_the_next_look() -> None:
    watch = Watch(0.5, "cpu")
    for step in range(1, EVERY):
        watch.step(step, group(10 * step, 7), torch.tensor(math.inf if step == 3 else math.nan if step > 3 else 1.0))
    with pytest.raises(UserError) as error:
        watch.step(EVERY, group(1), torch.tensor(1.0))
    assert str(error.value) == (
        "the loss became inf at learning rate 0.5; lower it with --set train.learning_rate=… "
        "(step 3 of its epoch, instances 30, 31, 7, 8)"
    )


def test_many_instances_are_cut_short() -> None:
    watch = Watch(0.5, "cpu")
    watch.step(1, group(*range(0, 100, 2)), torch.tensor(math.nan))
    with pytest.raises(UserError, match=r"instances 0, 1, 2, 3, 4, 5, 6, 7, …\)"):
        watch.look()


def test_what_was_looked_at_is_not_kept() -> None:
    watch = Watch(0.5, "cpu")
    for step in range(1, 10 * EVERY + 1):
        watch.step(step, group(step), torch.tensor(1.0))
    assert watch.ids == {}
    watch.end(nn.Linear(2, 2))


def test_weights_that_the_last_step_spoilt_are_noticed() -> None:
    watch, model = Watch(0.5, "cpu"), nn.Linear(2, 2)
    watch.step(1, group(1), torch.tensor(1.0))
    with torch.no_grad():
        model.bias[1] = math.nan
    with pytest.raises(
        UserError, match=r"1 weights are no numbers at learning rate 0.5; .* \(the last step of an epoch, bias"
    ):
        watch.end(model)


def test_scores_that_are_no_numbers_end_a_training() -> None:
    check_scores({"val_loss": 3.0, "mpck4": 0.0, "generate_ms": math.nan}, 0.5)
    with pytest.raises(Diverged, match=r"val_loss became inf at learning rate 0.5; lower it with .* \(in validation\)"):
        check_scores({"val_loss": math.inf, "mpck4": 0.1}, 0.5)
