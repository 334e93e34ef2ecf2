"""Under which names Ray's dashboard shows what is ours."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

_numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: itertools.count(1))


@contextmanager
def driver_named(title: str | None) -> Iterator[None]:
    """Ray lists a driver that joins it meanwhile as a job of this title, not of its command line. There is no setting:
    a private name of Ray's is replaced for the moment."""
    import ray._private.utils as utils

    if title is None:
        yield
        return
    before = utils.get_entrypoint_name
    utils.get_entrypoint_name = lambda: title
    try:
        yield
    finally:
        utils.get_entrypoint_name = before


def process_names(run: str) -> Iterator[str]:
    """NAME/process-1, NAME/process-2 …: no two alike in this process, for Ray starts no second actor of a name while
    it still ends the first."""
    return (f"{run}/process-{number}" for number in _numbers[run])
