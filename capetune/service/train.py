"""Train: one configuration, or a search's best, to its end."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from capetune.cluster.environment import prepare_environment
from capetune.config import Config
from capetune.datasets.packs.reader import check_readers
from capetune.errors import UserError
from capetune.events import CheckpointKept, EpochDone, Event, Listener, RunComplete, StepBegan, TrainingBegan, ignore
from capetune.models.check import check_net
from capetune.runs.best import ranked_config, ranked_trial
from capetune.runs.checkpoints import CheckpointMeta, best_checkpoint, checkpoint_folder, latest_checkpoint
from capetune.runs.diary import noted
from capetune.runs.facts import describe_data, environment
from capetune.runs.history import at_end, finished, read_history
from capetune.runs.home import Desk, at_work
from capetune.runs.ledger import LEDGER
from capetune.runs.record import Run, recorded
from capetune.runs.registry import begun, find_search, run_folder
from capetune.runs.trackers import Tracker, tracked, values_of
from capetune.service.features import Keeping
from capetune.service.on_end import notified
from capetune.service.request import Configured, Count
from capetune.service.starting import (
    Source,
    begun_with,
    came_to_nothing,
    check_backbone,
    check_same,
    find_source,
    own_config,
    stretched,
)
from capetune.service.steps import described, housed, machines_checked, open_data, ray_joined
from capetune.storage.scratch import address_of
from capetune.training.scorable import check_scorable
from capetune.trial_events import TrialChosen

AGAIN = "run the same command again"


def at_least(value: Any) -> Any:
    """2 and "2" are two workers, "2:8" and (2, 8) from two to eight."""
    if isinstance(value, int):
        return (value, value)
    if not isinstance(value, str):
        return value
    least, colon, most = value.partition(":")
    most = most if colon else least
    if not least.isdecimal() or not most.isdecimal():
        raise ValueError("wants a number such as 4, or from so many to so many: 2:8")
    return (int(least), int(most))


def in_order(value: tuple[int, int]) -> tuple[int, int]:
    if value[0] > value[1]:
        raise ValueError("wants the fewer first, as in 2:8")
    return value


Workers = Annotated[tuple[Count, Count], BeforeValidator(at_least), AfterValidator(in_order)]


class TrainRequest(Configured):
    verb: Literal["train"] = "train"
    search: str | None = None
    best: bool = False
    rank: Count = 1
    from_: str | None = None
    longer: str | None = None
    data: str | None = None
    workers: Workers = (1, 1)
    cpus: Count | None = None
    cache_features: int = Field(0, ge=0)
    features: Path | None = None
    profile: bool = False
    ledger: bool = False
    name: str | None = None
    track: Tracker | None = None
    on_end: str | None = None
    address: str | None = None
    verbose: bool = False

    @model_validator(mode="before")
    @classmethod
    def _named(cls, fields: Any) -> Any:
        """best="decoder-1", as Python likes to say it, is `--best decoder-1`; JSON may say "from". An older request has
        from_checkpoint."""
        if not isinstance(fields, dict):
            return fields
        fields = {"from_" if name == "from" else name: value for name, value in fields.items()}
        if isinstance(fields.get("best"), str):
            fields |= {"best": True, "search": fields["best"]}
        if fields.pop("from_checkpoint", False):
            fields |= {"best": False, "search": None, "longer": fields.get("search")}
        return fields


@dataclass(frozen=True)
class TrainResult:
    """folder, checkpoint: the run's and its best epoch's, or their addresses. meta: what the checkpoint says."""

    folder: Path | str
    checkpoint: Path | str
    meta: CheckpointMeta

    @property
    def name(self) -> str:
        return PurePath(self.folder).name

    def to_json(self) -> dict[str, Any]:
        said = {"epoch": self.meta.epoch, "metrics": self.meta.metrics, "config_hash": self.meta.config.hash()}
        return {"folder": str(self.folder), "checkpoint": str(self.checkpoint), **said}


def run(request: TrainRequest, listener: Listener = ignore) -> TrainResult:
    """Train to the last epoch; the same request again goes on where it was interrupted, and with more train.epochs it
    goes on to those.

    Raises UserError for what the caller can cure, `training.launch.TrainingFailed` where a worker failed otherwise.
    """
    return notified(request.on_end, request.verb, request.runs, listener, partial(_housed, request))


def _housed(request: TrainRequest, listener: Listener) -> TrainResult:
    _check(request)
    with housed(request, listener) as (request, listener), ExitStack() as copies:
        return _run(request, listener, copies)


def _run(request: TrainRequest, listener: Listener, copies: ExitStack) -> TrainResult:
    """copies: takes what must be there to the end."""
    chosen = _chosen(request, listener, copies)
    config, source = chosen.config, chosen.source
    pack = open_data(chosen.data, listener)
    if source is not None:
        source.check(config, pack)
    folder = run_folder(request.runs_folder, request.name or f"{chosen.stem}-{config.hash()[:6]}")
    found = begun(folder)
    if found is None or came_to_nothing(found):
        found = Run(folder, "train", "running")
    before = check_same(found, config, describe_data(pack, config.data.split), source)
    history = read_history(folder)
    if found.state == "completed" and (before is None or at_end(history, config.train)):
        listener(RunComplete(found.name))
        return _result(found)
    if source is not None:
        source.say(config, listener)
    check_scorable(pack, config)

    # torch and Ray take seconds to import: not before what can be refused without them.
    prepare_environment(request.address, request.verbose)
    listener(StepBegan("imports", "Ray"))
    from capetune.cluster.probe import LostNodes
    from capetune.training.launch import check_workers, launch_training

    least, most = request.workers
    check_readers(pack, most, config.data.workers)
    keeping = Keeping(request.cache_features, request.features, request.cpus)
    keeping.check(config, pack)
    if source is None:
        check_net(config.model.backbone)  # missing weights are said here, not by every worker
    origin = found.facts.get("origin") or (None if source is None else source.to_json())
    if request.cache_features and origin is not None:
        own = latest_checkpoint(folder)
        if own is not None:
            check_backbone(own[0])
        elif source is not None:
            check_backbone(source.checkpoint)
    facts = described(pack, config.data.split, listener)
    title = f"capetune train {found.name}"
    tracker = request.track or found.facts.get("tracker")
    done = finished(history) or (source.meta.epoch if source is not None and source.longer else 0)
    if before is None and source is not None and source.longer and not history:
        before = source.meta.config
    if before is not None and (stretch := stretched(found.name, before, config, done, pack, most)) is not None:
        listener(stretch)
    with (
        tracked(tracker, folder, listener, values_of(config)) as listener,
        ray_joined(request.address, request.verbose, listener, title, AGAIN, request.cpus) as cluster,
    ):
        check_workers(pack, cluster, config, least, most)
        keeping.check_shared(folder, cluster)
        record = facts | {"config_hash": config.hash(), "config": config.model_dump(mode="json"), "tracker": tracker}
        record |= {"workers": list(request.workers), "environment": environment()}
        record |= {} if origin is None else {"origin": origin}
        with at_work(folder, listener, patient=True) as desk:
            machines_checked(cluster, folder, pack, listener)
            with recorded(found, record, AGAIN, listener):
                features = keeping.make(folder, config, pack, listener)
                listener(StepBegan("workers", f"{least}" if least == most else f"{least} to {most}"))
                hear = noted(folder, desk.hear)
                hear(TrainingBegan(found.name, config.train.epochs, tuple(history)))
                ears = _Best(found, hear, max((row["mpck4"] for row in history), default=-1.0))
                at: dict[str, Any] = {"lease": desk.number, "fetch": partial(_exchanged, desk)}
                at |= {"lost_nodes": LostNodes(), "profile": request.profile}
                at["ledger"] = request.ledger or (folder / LEDGER).exists()  # one that was begun has no gaps
                asked = (config, pack, folder, cluster, request.workers, ears.hear)
                if source is not None:
                    at |= {"start": source.checkpoint, "afresh": not source.longer}
                launch_training(*asked, features=features, **at)
                keeping.end(folder)
    return _result(found)


def _exchanged(desk: Desk, below: str) -> None:
    """What the workers have sent is brought here, over what lies here: so that goes there before."""
    desk.send()
    desk.fetch(below)


@dataclass
class _Best:
    """Tells of each epoch that is the best so far where its checkpoint lies."""

    run: Run
    listener: Listener
    score: float

    def hear(self, event: Event) -> None:
        self.listener(event)
        if isinstance(event, EpochDone) and event.metrics["mpck4"] > self.score:
            self.score = event.metrics["mpck4"]
            path = checkpoint_folder(self.run.folder, event.epoch)
            self.listener(CheckpointKept(self.run.name, event.epoch, str(path)))


def _check(request: TrainRequest) -> None:
    if request.rank != 1 and not (request.best or request.from_ or request.longer):
        raise UserError("--rank says which trial of a search to train: give --best, --from or --longer too")
    if request.search is not None and not request.best:
        raise UserError(
            f"what is {request.search!r}? A search's name wants --best before it: "
            f"capetune train --best {request.search}"
        )
    chosen = {"--best": request.best, "--from": request.from_, "--longer": request.longer}
    several = [option for option, value in chosen.items() if value]
    if len(several) > 1:
        raise UserError(f"{' and '.join(several)} each say what to begin with: give one")
    for option, value in {"--preset": request.preset, "--config": request.config}.items():
        if several and value is not None and several != ["--from"]:
            both = f"{several[0]} and {option} both say what to train"
            raise UserError(f"{both}: give one, and change keys of it with --set")


@dataclass(frozen=True)
class _Chosen:
    """stem: of the run's name, where none is given. data: None for the built-in set."""

    config: Config
    stem: str
    data: str | None
    source: Source | None = None


def _chosen(request: TrainRequest, listener: Listener, copies: ExitStack) -> _Chosen:
    if request.best:
        return _best(request, listener)
    found = begun(run_folder(request.runs_folder, request.name)) if request.name else None
    if found is not None and came_to_nothing(found):
        found = None
    named = request.from_ or request.longer
    bare = request.preset is None and request.config is None and named is None
    source = None if found is None else begun_with(found, named, copies)
    if named is not None:
        source = source or find_source(request.runs_folder, named, request.rank, named == request.longer, copies)
        config = request.configuration(source.base(request.preset))
        same = str(source.meta.data["pack"]) if request.longer else None
        return _Chosen(config, source.stem, request.data or same, source)
    own = own_config(found) if bare else None
    if found is None or own is None:
        return _Chosen(request.configuration(), request.preset or "tiny", request.data)
    return _Chosen(request.configuration(own), found.name, request.data or str(found.told("pack")), source)


def _best(request: TrainRequest, listener: Listener) -> _Chosen:
    found = find_search(request.runs_folder, request.search)
    config = ranked_config(found, request.rank, request.settings)
    number = ranked_trial(found, request.rank)["number"]
    kept = not any(text.startswith("train.epochs=") for text in request.settings)
    epochs = config.train.epochs if kept else None
    listener(TrialChosen(found.name, number, found.state, str(found.folder / "best.yaml"), epochs))
    return _Chosen(config, found.name, request.data or str(found.told("pack")))


def _result(run: Run) -> TrainResult:
    found = best_checkpoint(run.folder)
    if found is None:
        raise UserError(f"run {run.name} has no checkpoint: it ended before its first epoch; run it again")
    checkpoint, meta = found
    return TrainResult(address_of(run.folder) or run.folder, address_of(checkpoint) or checkpoint, meta)
