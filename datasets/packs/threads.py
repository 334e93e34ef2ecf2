"""Work done ahead by threads, in order: image codecs and warps release Python's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def ordered(job: Callable[[Task], Result], tasks: Iterable[Task], threads: int, ahead: int) -> Iterator[Result]:
    """The job's results in the order of the tasks.

    Once the first is asked for, up to `ahead` tasks are taken and done before they are. An error comes in its place.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for task in tasks:
                waiting.append(pool.submit(job, task))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
