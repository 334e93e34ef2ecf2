"""Steer: ask a search that runs, wherever, for more points, to end trials, or for another number of trials."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from capetune.config import load_config
from capetune.errors import UserError
from capetune.events import Listener, StepBegan, ignore
from capetune.runs.commands import again
from capetune.runs.record import CONFIG, RECORD, SPACE, Run, read_run
from capetune.runs.registry import find_run
from capetune.runs.results import RESULT, look_at_results, trial_folder, trial_folders
from capetune.runs.steering import Requests, Steer
from capetune.service.request import Count, Request
from capetune.service.steps import housed
from capetune.storage.address import open_place
from capetune.storage.scratch import address_of
from capetune.tuning.space_file import load_space, read_points

WAIT = 45.0  # seconds for the search to take a request up; of one at an address it is heard every ten
LOOK = 0.5


def _several(value: Any) -> Any:
    """One number alone is a list of it."""
    return (value,) if isinstance(value, int) else value


class SteerRequest(Request):
    verb: Literal["steer"] = "steer"
    name: str
    add: Path | None = None
    stop: Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_several)] = ()
    trials: Count | None = None


@dataclass(frozen=True)
class SteerResult:
    """request: its number in the search. points: how many are tried next. taken: whether the search has taken it up."""

    name: str
    request: int
    points: int
    stop: tuple[int, ...]
    trials: int | None
    taken: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def run(request: SteerRequest, listener: Listener = ignore) -> SteerResult:
    """Ask, and wait until the search has taken it up, for WAIT seconds at most: one whose trials don't run yet takes it
    up when they do.

    Raises UserError, and nothing is asked for, where the search doesn't run, a point isn't in its space, or a trial to
    be ended doesn't run.
    """
    with housed(request, listener) as (request, listener):
        return _run(request, listener)


def _run(request: SteerRequest, listener: Listener) -> SteerResult:
    if request.add is None and not request.stop and request.trials is None:
        raise UserError("nothing is asked for: give --add FILE, --stop TRIAL or --trials N")
    found = find_run(request.runs_folder, request.name, "search")
    if found.state_now != "running":
        raise _over(found)
    points: list[dict[str, Any]] = []
    if request.add is not None:
        config = load_config("tiny", found.folder / CONFIG)
        points = read_points(request.add, load_space(found.folder / SPACE, config, begun=True), config)
    for number in request.stop:
        _check_running(found, number)
    requests, stop = Requests.of(found.folder), tuple(dict.fromkeys(request.stop))
    steer = Steer(tuple(points), stop, request.trials, os.urandom(6).hex())
    number = requests.add(steer, found.facts.get("steered", 0))
    listener(StepBegan("steering", found.name))
    return SteerResult(found.name, number, len(points), stop, request.trials, _taken(found, requests, number))


def _check_running(run: Run, number: int) -> None:
    folder = trial_folder(run.folder, number)
    if not folder.is_dir():
        begun = ", ".join(str(each) for each, other in trial_folders(run.folder) if not (other / RESULT).is_file())
        raise UserError(f"no trial {number} of {run.name} has begun; there run: {begun or 'none'}")
    ended = next((result for result in look_at_results(run.folder)[0] if result.number == number), None)
    if ended is not None:
        raise UserError(f"trial {number} of {run.name} has ended already: {ended.status}; leave it out")


def _taken(run: Run, requests: Requests, number: int) -> bool:
    """Raises UserError, with the request withdrawn, where the search has ended without it."""
    until = time.monotonic() + WAIT
    while time.monotonic() < until:
        now = _now(run)
        if now.facts.get("steered", 0) >= number:
            return True
        if now.state_now != "running":
            requests.withdraw(number)
            raise _over(now)
        time.sleep(LOOK)
    return False


def _now(run: Run) -> Run:
    """As its record is at this moment."""
    address = address_of(run.folder)
    if address is not None:
        open_place(address).fetch(RECORD, run.folder / RECORD)
    found = read_run(run.folder)
    if found is None:
        raise UserError(f"{run.folder / RECORD} is gone: {run.name} was removed or renamed meanwhile")
    return found


def _over(run: Run) -> UserError:
    go_on = again("search --resume", run.folder)
    if run.state_now == "completed":
        return UserError(f"{run.name} is complete: `{go_on} --trials N` extends it, then it can be steered")
    return UserError(f"{run.name} doesn't run ({run.state_now}): `{go_on}` goes on with it, then it can be steered")
