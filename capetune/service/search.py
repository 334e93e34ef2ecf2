"""Search: try configurations, score each on the split's validation categories, keep the best."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from capetune.cluster.environment import prepare_environment
from capetune.config import Config, load_config
from capetune.datasets.packs.reader import Pack
from capetune.errors import UserError
from capetune.events import Doubted, Listener, StepBegan, ignore
from capetune.runs.commands import again
from capetune.runs.copy import bring
from capetune.runs.record import CONFIG, SPACE, read_run
from capetune.runs.registry import find_run, run_folder
from capetune.runs.results import SCHEMA, TrialResult, trial_rows
from capetune.runs.trackers import Tracker
from capetune.service.on_end import notified
from capetune.service.request import Configured, Count, Names
from capetune.service.steps import housed, open_data
from capetune.storage.address import is_address
from capetune.storage.lease import FOLDER as LEASE
from capetune.training.scorable import check_scorable
from capetune.tuning.goal import Goal
from capetune.tuning.space import Space, never_stops
from capetune.tuning.space_file import load_space
from capetune.tuning.warm import WARM, Question, Warmth, warm_start

# What a search that goes on was begun with.
BEGUN_WITH = ("--preset", "--config", "--name", "--split", "--set", "--cache-features", "--warm-start", "--top")
FIXED = (*BEGUN_WITH, "--resume-or-start")
TOP = 5


def as_many(value: Any) -> Any:
    """ "4", as a command has it, is 4."""
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if value is None or value == "auto" or (isinstance(value, int) and value > 0):
        return value
    raise ValueError("wants how many, such as 4, or auto")


GpuTrials = Annotated[int | Literal["auto"], BeforeValidator(as_many)]


class SearchRequest(Configured):
    verb: Literal["search"] = "search"
    space: str | None = None
    data: str | None = None
    warm_start: Names = ()
    top: Count = TOP
    trials: Count | None = None
    hours: float | None = Field(None, ge=0)
    workers_per_trial: Count | None = None
    trials_per_gpu: GpuTrials | None = None
    at_once: Count | None = None
    cpus: Count | None = None
    keep: Count | None = None
    cache_features: int = Field(0, ge=0)
    features: Path | None = None
    name: str | None = None
    resume: str | None = None
    resume_or_start: bool = False
    retry_failed: bool = False
    storage: str | None = None
    track: Tracker | None = None
    on_end: str | None = None
    address: str | None = None
    verbose: bool = False


@dataclass(frozen=True)
class SearchResult:
    """folder: of the run, or its address. trials: all that ended, best first. facts: what their scores are of. left:
    those for which no budget was left. spent: whether it is the space's budget of epochs that was spent. already: all
    had been done before."""

    folder: Path | str
    trials: list[TrialResult]
    goal: Goal
    facts: dict[str, Any]
    left: int = 0
    spent: bool = False
    already: bool = False

    @property
    def name(self) -> str:
        return PurePath(self.folder).name

    @property
    def best(self) -> TrialResult | None:
        """None where no trial has a score and is over no limit."""
        return self.trials[0] if self.trials and self.trials[0].eligible else None

    def to_json(self) -> dict[str, Any]:
        """As results.json, with the run's folder."""
        return {**self.facts, "folder": str(self.folder), "trials": trial_rows(self.trials), "left": self.left}


@dataclass
class Begun:
    """A search that is to be run: what it was begun with, or is now. before: whether it was begun before. warmth: what
    it takes of earlier searches."""

    config: Config
    space: Space
    pack: Pack
    folder: Path
    storage: str | None
    before: bool = False
    warmth: Warmth = field(default_factory=Warmth)


class SearchFailed(Exception):
    """No trial has a score, and not because of what the user gave. The message is one line."""


def run(request: SearchRequest, listener: Listener = ignore) -> SearchResult:
    """Begin a search, or go on with one, and run it to the end of its budget (docs/search.md).

    Raises UserError for what the caller can cure, SearchFailed where every trial failed of something else.
    """
    return notified(request.on_end, request.verb, request.runs, listener, partial(_housed, request))


def _housed(request: SearchRequest, listener: Listener) -> SearchResult:
    with housed(request, listener) as (request, listener):
        return _run(request, listener)


def _run(request: SearchRequest, listener: Listener) -> SearchResult:
    begun = _begun(request, listener)
    check_scorable(begun.pack, begun.config)
    doubt = never_stops(begun.space, begun.config)
    if doubt is not None:
        listener(Doubted(doubt))
    # torch and Ray take seconds to import: not before what can be refused without them.
    prepare_environment(request.address, request.verbose)
    listener(StepBegan("imports", "PyTorch and Ray"))
    from capetune.service.sitting import sit

    return sit(begun, request, listener)


def _begun(request: SearchRequest, listener: Listener) -> Begun:
    if request.retry_failed and request.resume is None:
        raise UserError("--retry-failed goes on with a search, and tries its failed trials again: give --resume NAME")
    if request.resume is not None:
        given = [option for option in FIXED if option in request.given()]
        if given:
            raise UserError(f"--resume goes on with what the search was begun with; leave out {', '.join(given)}")
        return _go_on(request, request.resume, listener)
    if not request.resume_or_start:
        return _begin(request, listener)
    if request.name is None:
        raise UserError("--resume-or-start goes on with the run of a name: give --name too")
    folder = run_folder(request.runs_folder, request.name)
    bring(folder)
    found = read_run(folder)
    if found is None:
        return _begin(request, listener)
    begun = _go_on(request, request.name, listener)
    if request.configuration().hash() != begun.config.hash():
        raise UserError(f"{begun.folder} was begun with another configuration; choose another --name")
    copies = found.facts.get("cache_features", request.cache_features)
    if copies != request.cache_features:
        raise UserError(f"{begun.folder} was begun with --cache-features {copies}: give that, or another --name")
    return begun


def _begin(request: SearchRequest, listener: Listener) -> Begun:
    if request.space is None:
        raise UserError("what is to be searched? give --space FILE (`capetune space list` names built-in ones)")
    if request.top != TOP and not request.warm_start:
        raise UserError("--top says how many points of an earlier search come first: give --warm-start NAME too")
    config = request.configuration()
    space = load_space(request.space, config)
    if request.warm_start and space.header.sampler == "ablation":
        raise UserError("an ablation compares what it trained itself with the same seeds: leave --warm-start out")
    pack = open_data(request.data, listener)
    folder = run_folder(request.runs_folder, request.name or f"{space.source.stem}-{datetime.now():%Y%m%d-%H%M%S}")
    bring(folder)
    # What a search that was killed before its record was written has left is written anew.
    begun = (LEASE, CONFIG, SPACE, SCHEMA, WARM)
    if folder.is_dir() and any(path.name not in begun for path in folder.iterdir()):
        raise UserError(
            f"{folder} exists already; choose another --name, or go on with it: {again('search --resume', folder)}"
        )
    return Begun(config, space, pack, folder, request.storage, warmth=_warmth(request, config, space, pack))


def _warmth(request: SearchRequest, config: Config, space: Space, pack: Pack) -> Warmth:
    for name in filter(is_address, request.warm_start):
        runs, _, last = name.rstrip("/").rpartition("/")
        cure = f"with --runs {runs} it is {last}, or copy that folder into {request.runs_folder}"
        raise UserError(f"--warm-start wants a run's name: {name} is an address; {cure}")
    found = [find_run(request.runs_folder, name, "search") for name in dict.fromkeys(request.warm_start)]
    copies, workers = request.cache_features, request.workers_per_trial or 1
    facts = {"data_hash": pack.fingerprint, "cache_features": copies, "workers_per_trial": workers}
    return warm_start(found, Question.of(space, config, facts), request.top)


def _go_on(request: SearchRequest, name: str, listener: Listener) -> Begun:
    found = find_run(request.runs_folder, name, "search")
    files = [found.folder / file for file in (CONFIG, SPACE)]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise UserError(f"{missing[0]} is not there: {name} ended before its first trial; begin a new search")
    config = load_config("tiny", files[0])
    space = load_space(files[1], config, begun=True)
    if request.space is not None:
        wider = load_space(request.space, config, begun=True)
        wider.check_extends(space)
        space = wider
    try:
        pack = open_data(request.data or str(found.told("pack")), listener)
    except UserError as error:
        if request.data is not None:
            raise
        why = f"the pack that {name} was begun with can't be opened; where it lies elsewhere now, give --data PLACE"
        raise UserError(f"{why} ({error})") from None
    return Begun(config, space, pack, found.folder, request.storage or found.facts.get("storage"), before=True)
