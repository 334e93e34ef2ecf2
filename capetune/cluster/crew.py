"""Workers that share a work: who has time does the next part; what a lost one had in hand another does again."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import ray
from ray.exceptions import RayError, RayTaskError

from capetune.cluster.names import process_names
from capetune.errors import UserError

TRIES = 3  # of a part, and of a worker that is lost before it has done any

Do = Callable[[int, Any, Any], Any]
"""(number of the work, what all its parts share, part) to the part's result."""


class Crew:
    """A context manager: so many workers until its end, each a process that reserves what `reserved` says.

    make: called in each worker, gives the function that does a part. name: what Ray lists them under. say: hears a
    line of each worker that is lost. Where there isn't room for all, those that have it begin; the
    others come when they can.
    """

    def __init__(
        self, make: Callable[[], Do], workers: int, reserved: Mapping[str, float], name: str, say: Callable[[str], None]
    ) -> None:
        self._make, self._count, self._say = make, workers, say
        self._names = process_names(name)
        self._given: dict[str, Any] = {"num_cpus": reserved.get("CPU", 0), "num_gpus": reserved.get("GPU", 0)}
        # A trial's own room is for the trial, which may have none to spare.
        own = f"capetune-{ray.get_runtime_context().get_job_id()}"
        self._given |= {"scheduling_strategy": "DEFAULT", "namespace": own}
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._works = itertools.count()
        self._lost = 0

    def __enter__(self) -> Self:
        for _ in range(self._count):
            self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._starting.clear()
        self._idle.clear()  # an actor without a handle ends

    def over(self, shared: Any, parts: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Each part's number and result, as they are done. What they share travels to a machine once.

        Raises what a worker raises, a UserError as it is; UserError, too, where workers are lost again and again.
        """
        work, sent = next(self._works), ray.put(shared)
        left, tries, hands = deque(range(len(parts))), Counter[int](), dict[Any, tuple[Any, int]]()
        while left or hands:
            while left and self._idle:
                free, next_part = self._idle.pop(), left.popleft()
                hands[free.do.remote(work, sent, parts[next_part])] = free, next_part
            [done], _ = ray.wait([*hands, *(self._starting if left else ())], num_returns=1)
            taken: tuple[Any, int | None] = hands.pop(done) if done in hands else (self._starting.pop(done), None)
            worker, number = taken
            try:
                result = ray.get(done)
            except RayTaskError as error:
                raise (error.cause if isinstance(error.cause, UserError) else error) from None
            except RayError as error:
                self._again(number, tries, error)
                left.extendleft([] if number is None else [number])
                continue
            self._idle.append(worker)
            if number is not None:
                self._lost = 0
                yield number, result

    def _start(self) -> None:
        kind: Any = ray.remote(_Worker)
        worker = kind.options(name=next(self._names), **self._given).remote(self._make)
        self._starting[worker.ready.remote()] = worker

    def _again(self, part: int | None, tries: Counter[int], why: RayError) -> None:
        """A worker was lost: another takes its place."""
        self._lost += 1
        if part is not None:
            tries[part] += 1
        if self._lost >= TRIES * self._count or max(tries.values(), default=0) >= TRIES:
            raise UserError(
                "workers are lost again and again, which memory may be too small for: take fewer "
                f"--workers ({str(why).splitlines()[0]})"
            )
        self._say("a worker was lost: another takes its place" + ("" if part is None else ", and does its part again"))
        self._start()


class _Worker:
    def __init__(self, make: Callable[[], Do]) -> None:
        self._do = make()

    def ready(self) -> None:
        """Whoever waits for this knows that the worker has a place."""

    def do(self, work: int, shared: Any, part: Any) -> Any:
        return self._do(work, shared, part)
