from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from multiprocessing.util import get_temp_dir

import psutil
import pytest

from capetune.datasets.episodes.loader import Loader, Stream
from capetune.errors import UserError


class Numbers(Stream[tuple[int, int, int]]):
    """Epoch, number and the process that made it; the data of epoch 9 is bad."""

    def made(self, epoch: int, first: int, end: int, worker: int, workers: int) -> Iterator[tuple[int, int, int]]:
        for step in range(worker, end, workers):
            if epoch == 9 and step == 3:
                raise UserError("bad data")
            if step >= first:
                yield epoch, step, os.getpid()


@pytest.fixture
def closed() -> Iterator[Callable[[Loader], Loader]]:
    """closed(loader): the loader, which is closed when the test ends."""
    with ExitStack() as ends:
        yield lambda loader: ends.enter_context(closing(loader))


@pytest.mark.parametrize("workers", [0, 2])
def test_every_epoch_has_its_batches_in_order(workers: int, closed: Callable) -> None:
    loader = closed(Loader(Numbers(), workers))
    for epoch, steps in ((1, 5), (2, 2), (3, 7)):
        assert [made[:2] for made in loader.epoch(epoch, steps)] == [(epoch, step) for step in range(steps)]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_can_be_had_from_any_batch_on(workers: int, closed: Callable) -> None:
    loader = closed(Loader(Numbers(), workers))
    for epoch, first, end in ((1, 3, 8), (2, 4, 5), (3, 0, 4), (4, 1, 1)):
        assert [made[:2] for made in loader.epoch(epoch, end, first)] == [(epoch, n) for n in range(first, end)]


def test_processes_stay_from_epoch_to_epoch(closed: Callable) -> None:
    loader = closed(Loader(Numbers(), 2))
    first, second = ({pid for _, _, pid in loader.epoch(epoch, 4)} for epoch in (1, 2))
    assert first == second
    assert len(first) == 2
    assert os.getpid() not in first


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_that_was_left_in_its_middle_does_not_run_into_the_next(workers: int, closed: Callable) -> None:
    loader = closed(Loader(Numbers(), workers))
    left = loader.epoch(1, 50)
    next(left)
    assert [made[:2] for made in loader.epoch(2, 3)] == [(2, 0), (2, 1), (2, 2)]


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_data_is_one_line_and_the_loader_goes_on(workers: int, closed: Callable) -> None:
    loader = closed(Loader(Numbers(), workers))
    with pytest.raises(UserError, match=r"^bad data$"):
        list(loader.epoch(9, 8))
    assert len(list(loader.epoch(1, 3))) == 3


def test_closed_its_processes_end_in_the_middle_of_an_epoch_too() -> None:
    loader = Loader(Numbers(), 2)
    left = loader.epoch(1, 50)
    pids = {next(left)[2] for _ in range(4)}
    assert all(map(psutil.pid_exists, pids))
    loader.close()
    assert not any(map(psutil.pid_exists, pids))
    assert left is not None  # whoever still holds the epoch holds no process


class Where(Stream[str]):
    """The temporary folder of the process that makes it."""

    def made(self, epoch: int, first: int, end: int, worker: int, workers: int) -> Iterator[str]:
        yield get_temp_dir()


@pytest.mark.parametrize("fork", [True, False])
def test_what_its_processes_share_tensors_by_goes_with_this_one_however_they_end(fork: bool, closed: Callable) -> None:
    """A process of torch's that isn't through at once is ended, and would leave a folder of its own."""
    loader = closed(Loader(Where(), 1, fork=fork))
    assert list(loader.epoch(1, 1)) == [get_temp_dir()]


class Secrets(Stream[str | None]):
    """What its processes find in the environment."""

    def made(self, epoch: int, first: int, end: int, worker: int, workers: int) -> Iterator[str | None]:
        yield os.environ.get("CAPETUNE_SECRET")


def test_processes_have_the_environment_of_who_asks_also_where_they_are_not_forked_from_it(
    closed: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server that forks them lives from the first loader on: credentials that are set later must arrive, too."""
    for secret in ("first", "second"):
        monkeypatch.setenv("CAPETUNE_SECRET", secret)
        assert list(closed(Loader(Secrets(), 1, fork=False)).epoch(1, 1)) == [secret]
