"""Memory that runs out in a training: told apart, told as the configuration's fault, with what would fit."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from capetune.config import Config
from capetune.errors import UserError
from capetune.models.backbone import Maps
from capetune.pose import Batch
from capetune.training.step import CapturedStep, Learn, losses_of

# How they say it that have no class for it: the CPU's allocator, CUDA itself, cuBLAS and cuDNN.
SAID = ("can't allocate memory", "out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")
LESS = (
    "a smaller data.size, model.width or model.decoder.layers takes less, and so do more frozen stages of the backbone"
)
KEPT = "where a GPU replays steps these keep their memory meanwhile: --set model.execution=eager takes less, a smaller "
KEPT += "train.batch_size, data.size or model.width too"


def ran_out(error: BaseException | None) -> bool:
    """Whether it is memory that an error is about, or one that it came of: a capture that is broken off has its own."""
    while error is not None:
        said = isinstance(error, RuntimeError) and any(words in str(error) for words in SAID)
        if said or isinstance(error, torch.OutOfMemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def named_memory_error(where: str, cure: Callable[[], str]) -> Iterator[None]:
    """Raises UserError, one line with the cure, where memory runs out inside; cure is called when what the failed work
    held is free again."""
    try:
        yield
    except RuntimeError as error:
        if not ran_out(error):
            raise
        _let_go(error)
        raise UserError(f"out of memory {where}; {cure()}") from error


def smaller_batch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: Config,
    group: Sequence[Batch],
    kept: Sequence[Maps],
    learn: Learn,
) -> str:
    """What would fit in place of a step of this group, as a line: the largest batch of which some make up the same
    samples a step. Each is tried out, forward and backward, until one fits, of the batch with most keypoints.

    learn: what the step was made by; its CUDA graphs are given up. Of a model that exchanges gradients nothing is tried
    out: the others would be waited for.
    """
    settings = config.train
    samples = settings.batch_size * settings.accumulate
    counts = [count for count in range(settings.batch_size - 1, 0, -1) if samples % count == 0]
    if isinstance(model, nn.parallel.DistributedDataParallel) and counts:
        return f"{_settings(counts[0], samples)} trains alike with less"
    if isinstance(learn, CapturedStep):
        learn.forget()
    most = max(range(len(group)), key=lambda i: group[i].joints.shape[1])
    batch, maps = group[most], kept[most] if kept else ()
    optimizer.zero_grad(set_to_none=True)
    for count in counts:
        peak = _tried(model, optimizer, config, batch.first(count), tuple(seen[:count] for seen in maps))
        if peak is not None:
            took = f" ({gib(peak)} at most)" if peak else ""
            return f"{count} at a time fit{took}: {_settings(count, samples)} trains alike"
    return f"not one at a time fits: {LESS}"


def gib(count: float) -> str:
    """Bytes as a GPU's memory is told."""
    return f"{count / 2**30:.1f} GiB"


def _settings(count: int, samples: int) -> str:
    return f"--set train.batch_size={count} --set train.accumulate={samples // count}"


def _tried(model: nn.Module, optimizer: torch.optim.Optimizer, config: Config, batch: Batch, maps: Maps) -> int | None:
    """The most bytes that a step takes on a GPU, 0 on a CPU; None where memory runs out."""
    gpu = batch.joints.is_cuda
    if gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    trained = [weight for part in optimizer.param_groups for weight in part["params"]]
    try:
        # Before its first step the optimiser hasn't made its moments yet.
        moments = [] if optimizer.state else [torch.empty_like(weight) for weight in [*trained, *trained]]
        losses_of(model, batch, config, maps)["loss"].backward()
        del moments
    except RuntimeError as error:
        if not ran_out(error):
            raise
        _let_go(error)
        return None
    finally:
        optimizer.zero_grad(set_to_none=True)
    return torch.cuda.max_memory_allocated() if gpu else 0


def _let_go(error: BaseException | None) -> None:
    """Of what the frames hold that an error came through: a step's maps."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
