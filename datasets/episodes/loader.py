"""Loader processes that stay: one set of them for all epochs of a training."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from functools import partial
from multiprocessing.util import get_temp_dir
from typing import Any, Generic, Literal, TypeVar, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from capetune.errors import UserError

T = TypeVar("T")


class Stream(IterableDataset[Any], Generic[T]):
    """What a loader's processes make an epoch's batches with; each of them makes every n-th."""

    def __init__(self) -> None:
        self.now = torch.zeros(3, dtype=torch.int64)  # epoch, first batch and end

    def share_memory(self) -> None:
        """Let all processes see what one of them writes down."""
        self.now.share_memory_()

    def left_out(self) -> np.ndarray:
        """Ids, int64, of what couldn't be read so far."""
        return np.empty(0, np.int64)

    def leave_out(self, ids: np.ndarray) -> None:
        """Take it that these, int64, can't be read: `left_out` of an earlier process."""

    @abstractmethod
    def made(self, epoch: int, first: int, end: int, worker: int, workers: int) -> Iterator[T]:
        """Of an epoch's batches `worker`, `worker + workers`, … those from `first` on and before `end`."""

    def __iter__(self) -> Iterator[T | UserError]:
        """An error of the data comes as the last item: raised here, it would arrive wrapped in many lines."""
        info = get_worker_info()
        process, workers = (info.id, info.num_workers) if info else (0, 1)
        epoch, first, end = self.now.tolist()
        worker = (process + first) % workers  # the first batch is asked of the first process
        try:
            yield from self.made(epoch, first, end, worker, workers)
        except UserError as error:
            yield error


class Loader(Generic[T]):
    """Gives each epoch's batches, made in `workers` processes that live as long as the loader, or in this one (0)."""

    def __init__(self, stream: Stream[T], workers: int | Literal["auto"], fork: bool = True, pin: bool = False) -> None:
        """workers: as `data.workers`; auto, where nobody said what that is, is none. fork: False where a fork of this
        process wouldn't do. pin: put batches where a GPU can fetch them."""
        workers = 0 if workers == "auto" else workers
        self._stream = stream
        if workers:
            stream.share_memory()
            get_temp_dir()  # of all of them, which goes with this process; one's own would stay where it is ended
        self._loader: DataLoader[T | UserError] = DataLoader(
            stream,
            batch_size=None,
            num_workers=workers,
            collate_fn=_as_it_is,
            multiprocessing_context="forkserver" if workers and not fork else None,
            worker_init_fn=partial(_with_environment, dict(os.environ)) if workers and not fork else None,
            persistent_workers=workers > 0,
            pin_memory=pin and workers > 0,
            generator=torch.Generator(),  # or it would draw from the global one, and workers would change the training
        )

    def epoch(self, epoch: int, end: int, first: int = 0) -> Iterator[T]:
        """Exactly the batches from `first` on and before `end`. Raises UserError, while iterating, where the data is
        bad. Ends the epoch before."""
        self._stream.now[:] = torch.tensor([epoch, first, end])
        for batch in self._loader:
            if isinstance(batch, UserError):
                raise batch
            yield batch

    def left_out(self) -> np.ndarray:
        """Ids, int64, of train samples that were left out so far, for they can't be read."""
        return self._stream.left_out()

    def leave_out(self, ids: np.ndarray) -> None:
        """What an earlier process had left out, int64, is left out here too."""
        self._stream.leave_out(ids)

    def close(self) -> None:
        """End its processes. They would end with the last reference to them, which an error's traceback may hold; torch
        has no public word for it."""
        running, self._loader._iterator = self._loader._iterator, None
        if running is not None:
            cast(Any, running)._shutdown_workers()


def _as_it_is(batch: T) -> T:
    return batch


def _with_environment(environment: dict[str, str], _worker: int) -> None:
    """Credentials are in the environment, and the process from which loaders are forked has that of its first use."""
    os.environ.clear()
    os.environ.update(environment)
