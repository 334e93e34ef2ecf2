"""Under which names Ray's dashboard shows what is ours."""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: itertools.count(1))


@contextmanager
def driver_named(title: str | None) -> Iterator[dict[str, Any]]:
    """Ray lists a driver that joins it meanwhile as a job of this title, not of its command line. Gives what `ray.init`
    is to be told for its name; for the command line, which stands beside it, there is no setting: a private name of
    Ray's is replaced for the moment."""
    import ray._private.utils as utils
    from ray.job_config import JobConfig

    if title is None:
        yield {}
        return
    before = utils.get_entrypoint_name
    utils.get_entrypoint_name = lambda: title
    try:
        # A driver that was sent as a job has a configuration already, with that job's name in it.
        sent = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
        yield {} if sent else {"job_config": JobConfig(metadata={"job_name": title})}
    finally:
        utils.get_entrypoint_name = before


def process_names(run: str) -> Iterator[str]:
    """NAME/process-1, NAME/process-2 …: no two alike in this process, for Ray starts no second actor of a name while
    it still ends the first."""
    return (f"{run}/process-{number}" for number in _numbers[run])
