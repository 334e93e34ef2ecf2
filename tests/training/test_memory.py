"""Out of memory: with errors of the allocators themselves."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from capetune.config import Config
from capetune.datasets.episodes.stream import train_batches
from capetune.datasets.packs.reader import Pack
from capetune.errors import UserError
from capetune.models.backbone import Maps
from capetune.models.estimator import Output, PoseEstimator
from capetune.pose import Batch
from capetune.training.loop import train_epoch
from capetune.training.memory import named_memory_error, ran_out
from capetune.training.optim import make_optimizer, make_schedule

TOO_MUCH = 1 << 60  # bytes


class Hungry(PoseEstimator):
    """A model that needs more memory than any machine has for more samples than `fits`."""

    fits = 2

    def forward(self, batch: Batch, *more: object, **named: object) -> Output:  # type: ignore[override]
        torch.empty(TOO_MUCH if len(batch) > self.fits else 1, dtype=torch.uint8)
        return super().forward(batch, *more, **named)  # type: ignore[arg-type]


def one_epoch(config: Config, pack: Pack, fits: int) -> None:
    settings = config.train
    model = Hungry(config.model)
    model.fits = fits
    optimizer = make_optimizer(model, settings)
    drawn = train_batches(pack, config.data, settings.batch_size, 0, 1, steps=settings.accumulate)
    none: Maps = ()
    train_epoch(model, ((batch, none) for batch in drawn), optimizer, make_schedule(optimizer, settings, 10), config)


@pytest.mark.parametrize(
    ("batch", "turns", "fits", "said"),
    [
        (4, 1, 3, "2 at a time fit: --set train.batch_size=2 --set train.accumulate=2 trains alike"),
        (4, 3, 3, "3 at a time fit: --set train.batch_size=3 --set train.accumulate=4 trains alike"),
        (1, 2, 0, "not one at a time fits: a smaller data.size, model.width"),
    ],
)
def test_the_largest_batch_that_fits_and_trains_alike_is_named(
    config: Config, pack: Pack, batch: int, turns: int, fits: int, said: str
) -> None:
    config = config.with_overrides({"train.batch_size": batch, "train.accumulate": turns})
    with pytest.raises(UserError) as ended:
        one_epoch(config, pack, fits)
    assert str(ended.value).startswith(f"out of memory at step 1 with a batch of {batch} images of 64 px; {said}")


def test_what_the_failed_step_held_is_free_when_the_cure_is_looked_for() -> None:
    held: list[weakref.ref] = []

    def step() -> None:
        maps = torch.zeros(1000)
        held.append(weakref.ref(maps))
        torch.empty(TOO_MUCH, dtype=torch.uint8)

    def cure() -> str:
        return "free" if held[0]() is None else "held"

    with pytest.raises(UserError, match="out of memory here; free"), named_memory_error("here", cure):
        step()


@contextmanager
def capture() -> Iterator[None]:
    """As a CUDA graph's does: broken off, it ends with an error of its own."""
    try:
        yield
    finally:
        raise RuntimeError("operation failed due to a previous error during capture")


def test_memory_is_told_by_whatever_way_it_runs_out() -> None:
    for error in (torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED")):
        assert ran_out(error)
    with pytest.raises(RuntimeError, match="during capture") as ended, capture():
        torch.empty(TOO_MUCH, dtype=torch.uint8)
    assert ran_out(ended.value)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="inconsistent tensor size"), named_memory_error("here", str):
        torch.ones(2) @ torch.ones(3)


def test_a_model_that_outgrows_memory_in_validation_says_so(
    config: Config, pack: Pack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from capetune.training.loop import fit

    answer = PoseEstimator.answer

    def hungry(self: PoseEstimator, *given: object, **named: object) -> object:
        torch.empty(TOO_MUCH, dtype=torch.uint8)
        return answer(self, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(PoseEstimator, "answer", hungry)
    config = config.with_overrides({"train.steps": 1})
    with pytest.raises(UserError, match=r"out of memory in the validation of epoch 1; .* model\.execution=eager takes"):
        fit(config, pack, lambda *_: None)
