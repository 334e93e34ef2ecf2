"""Train: one configuration, or a search's best, to its end."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from capetune.cluster.environment import prepare_environment
from capetune.config import Config
from capetune.datasets.packs.reader import check_readers
from capetune.errors import UserError
from capetune.events import (
    CheckpointKept,
    EpochDone,
    Event,
    Listener,
    RunComplete,
    StepBegan,
    TrainingBegan,
    TrialChosen,
    ignore,
)
from capetune.models.check import check_net
from capetune.runs.best import ranked_checkpoint, ranked_config, ranked_trial
from capetune.runs.checkpoints import UNDER_WAY, CheckpointMeta, best_checkpoint, checkpoint_folder, read_meta
from capetune.runs.diary import noted
from capetune.runs.facts import describe_data, environment
from capetune.runs.history import read_history
from capetune.runs.home import Desk, at_work
from capetune.runs.ledger import LEDGER
from capetune.runs.record import Run, recorded
from capetune.runs.registry import begun, find_search, run_folder
from capetune.runs.trackers import Tracker, tracked, values_of
from capetune.service.features import Keeping
from capetune.service.request import Configured, Count
from capetune.service.steps import described, housed, machines_checked, open_data, ray_joined
from capetune.storage.scratch import address_of
from capetune.training.scorable import check_scorable

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
    from_checkpoint: bool = False
    data: str | None = None
    workers: Workers = (1, 1)
    cpus: Count | None = None
    cache_features: int = Field(0, ge=0)
    features: Path | None = None
    profile: bool = False
    ledger: bool = False
    name: str | None = None
    track: Tracker | None = None
    address: str | None = None
    verbose: bool = False

    @model_validator(mode="before")
    @classmethod
    def _named(cls, fields: Any) -> Any:
        """best="decoder-1", as Python likes to say it, is `--best decoder-1`."""
        if isinstance(fields, dict) and isinstance(fields.get("best"), str):
            return {**fields, "best": True, "search": fields["best"]}
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
    """Train to the last epoch; the same request again goes on where it was interrupted.

    Raises UserError for what the caller can cure, `training.launch.TrainingFailed` where a worker failed otherwise.
    """
    _check(request)
    with housed(request, listener) as (request, listener):
        return _run(request, listener)


def _run(request: TrainRequest, listener: Listener) -> TrainResult:
    config, stem, data, start = _chosen(request, listener)
    pack = open_data(data, listener)
    folder = run_folder(request.runs_folder, request.name or f"{stem}-{config.hash()[:6]}")
    found = begun(folder)
    if found is None or came_to_nothing(found):
        found = Run(folder, "train", "running")
    check_same(found, config.hash(), describe_data(pack, config.data.split))
    if found.state == "completed":
        listener(RunComplete(found.name))
        return _result(found)
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
    check_net(config.model.backbone)  # missing weights are said here, not by every worker
    facts = described(pack, config.data.split, listener)
    history = read_history(folder)
    title = f"capetune train {found.name}"
    tracker = request.track or found.facts.get("tracker")
    with (
        tracked(tracker, folder, listener, values_of(config)) as listener,
        ray_joined(request.address, request.verbose, listener, title, AGAIN, request.cpus) as cluster,
    ):
        check_workers(pack, cluster, config, least, most)
        keeping.check_shared(folder, cluster)
        record = facts | {"config_hash": config.hash(), "config": config.model_dump(mode="json"), "tracker": tracker}
        record |= {"workers": list(request.workers), "environment": environment()}
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
                launch_training(*asked, start=start, features=features, **at)
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
    if not request.best and (request.rank != 1 or request.from_checkpoint):
        raise UserError("--rank and --from-checkpoint say which trial of a search to train: give --best too")
    if request.search is not None and not request.best:
        raise UserError(
            f"what is {request.search!r}? A search's name wants --best before it: "
            f"capetune train --best {request.search}"
        )
    for option, value in {"--preset": request.preset, "--config": request.config}.items():
        if request.best and value is not None:
            raise UserError(f"--best and {option} both say what to train: give one, and change keys of it with --set")


def _chosen(request: TrainRequest, listener: Listener) -> tuple[Config, str, str | None, Path | None]:
    """The configuration, the stem of the run's name, the data, and a checkpoint to start from."""
    if not request.best:
        return request.configuration(), request.preset or "tiny", request.data, None
    found = find_search(request.runs_folder, request.search)
    config = ranked_config(found, request.rank, request.settings)
    start = ranked_checkpoint(found, request.rank) if request.from_checkpoint else None
    if start is not None:
        check_start(start, config)
    number = ranked_trial(found, request.rank)["number"]
    file = str(found.folder / "best.yaml")
    listener(TrialChosen(found.name, number, found.state, file, None if start is None else str(start)))
    return config, found.name, request.data or str(found.told("pack")), start


def check_start(start: Path, config: Config) -> None:
    """Raises UserError where a training can't start from that checkpoint: another split's test categories may be among
    those that it was trained on."""
    meta, split = read_meta(start), config.data.split
    if meta.config.data.split != split:
        raise UserError(
            f"{start} was trained on split {meta.config.data.split}, and has seen categories that split {split} tests; "
            "leave --from-checkpoint out"
        )
    if meta.epoch >= config.train.epochs:
        raise UserError(f"{start} is of epoch {meta.epoch} already; give more with --set train.epochs=…")


def came_to_nothing(run: Run) -> bool:
    """Whether a training has ended before anything of it was kept: its name is free for another."""
    kept = read_history(run.folder) or (run.folder / UNDER_WAY).is_dir()
    return run.kind == "train" and run.state_now not in ("running", "completed") and not kept


def check_same(run: Run, config_hash: str, facts: dict[str, Any]) -> None:
    """Raises UserError where a run was begun with another configuration or other data, or is no training."""
    if run.kind != "train":
        raise UserError(f"{run.folder} was made by `capetune {run.kind}`; choose another --name")
    facts = {"config_hash": config_hash, **facts}
    if any(run.facts.get(key, facts[key]) != facts[key] for key in ("config_hash", "data_hash")):
        raise UserError(f"{run.folder} holds a run of another configuration or other data; choose another --name")


def _result(run: Run) -> TrainResult:
    found = best_checkpoint(run.folder)
    if found is None:
        raise UserError(f"run {run.name} has no checkpoint: it ended before its first epoch; run it again")
    checkpoint, meta = found
    return TrainResult(address_of(run.folder) or run.folder, address_of(checkpoint) or checkpoint, meta)
