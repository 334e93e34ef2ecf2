"""Work that all machines of the joined cluster do, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import ray
from ray.exceptions import RayTaskError

from capetune.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")

AT_A_TIME = 16  # a Ray task has a few milliseconds of its own


def spread(job: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
    """The job's results in the order of the tasks, made by Ray tasks of one CPU, each for some of them; twice as many
    are asked for as there are CPUs at the time, so that what waits to be taken stays small. A task whose machine is
    lost is done again elsewhere.

    The job and what it takes and gives are pickled. A UserError of the job is raised in its place.
    """
    remote: Any = ray.remote(num_cpus=1, max_retries=-1)(_done)
    waiting: deque[Any] = deque()
    rest = iter(tasks)
    try:
        while some := list(islice(rest, AT_A_TIME)):
            waiting.append(remote.remote(job, some))
            if len(waiting) > 2 * ray.cluster_resources().get("CPU", 1):
                yield from _got(waiting.popleft())
        while waiting:
            yield from _got(waiting.popleft())
    finally:
        for each in waiting:
            ray.cancel(each)


def _done(job: Callable[[Task], Result], tasks: list[Task]) -> list[Result]:
    return [job(task) for task in tasks]


def _got(task: Any) -> list[Any]:
    try:
        results: list[Any] = ray.get(task)
    except RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    return results
