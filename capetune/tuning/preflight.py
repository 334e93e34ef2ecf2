"""What must hold before a search starts, found out before it does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
import torch
from rich.filesize import decimal

from capetune.cluster.machines import Cluster
from capetune.config import Config, ModelConfig
from capetune.datasets.packs.reader import Pack, check_readers
from capetune.errors import UserError
from capetune.events import CheckPassed
from capetune.models.estimator import PoseEstimator
from capetune.storage.scratch import address_of
from capetune.tuning.schedulers import carries_checkpoints
from capetune.tuning.space import Space

DRAWN = 8  # points of the space whose models are measured
SPARE = 2  # checkpoints of a running trial: the best and the latest; one more while it is written


@dataclass(frozen=True)
class Plan:
    """How trials share the cluster. workers: training workers a trial. threads: CPUs a worker. device: cpu or cuda.
    per_gpu: trials that share a GPU. aside: the part of its memory that each takes beside its tensors, for CUDA."""

    at_once: int
    workers: int
    threads: int
    device: str
    per_gpu: int = 1
    aside: float = 0.0

    @property
    def fence(self) -> float:
        """The part of a GPU's memory that a trial's tensors may take."""
        return 1 / self.per_gpu - self.aside

    @property
    def reserved(self) -> dict[str, float]:
        """What Ray sets aside for a worker."""
        if self.device == "cpu":
            return {"CPU": self.threads}
        return {"GPU": 1 / self.per_gpu} if self.workers > 1 else {"CPU": self.threads, "GPU": 1 / self.per_gpu}

    @property
    def words(self) -> str:
        each = f"{self.workers} worker{'s' * (self.workers > 1)} a trial"
        shared = f"1/{self.per_gpu} of a GPU" if self.per_gpu > 1 else "1 GPU"
        what = shared if self.device == "cuda" else f"{self.threads} CPU{'s' * (self.threads > 1)}"
        return f"{each}, {what} a worker: {self.at_once} trial{'s' * (self.at_once > 1)} at once"


def plan(
    cluster: Cluster, workers: int, trials: int, per_gpu: int = 1, at_once: int | None = None, aside: float = 0.0
) -> Plan:
    """As many trials at once as the cluster has GPUs for now, or else CPUs, and not more than `at_once`; per_gpu: of
    one worker each that share a GPU. aside: as `Plan` has it.

    Raises UserError where that is none, or where nothing can be shared so.
    """
    if per_gpu > 1 and not cluster.gpus:
        raise UserError("there is no GPU to be shared: leave --trials-per-gpu out")
    if per_gpu > 1:
        check_shareable(workers)
    cluster = replace(cluster, machines=tuple((cpus, gpus * per_gpu) for cpus, gpus in cluster.machines))
    have, what = cluster.places(1), "GPUs" if cluster.gpus else "CPUs"
    if workers > have:
        raise UserError(f"a trial of {workers} workers needs {workers} {what}, the cluster has {have}; use fewer")
    fit = max(1, min(trials, have // workers, at_once or trials))
    return Plan(fit, workers, cluster.threads(fit * workers), "cuda" if cluster.gpus else "cpu", per_gpu, aside)


def check_shareable(workers: int) -> None:
    """Raises UserError where trials of so many workers can't share a GPU."""
    if workers > 1:
        raise UserError("trials of several workers have their GPUs to themselves: leave --trials-per-gpu out")


def preflight(
    config: Config, space: Space, pack: Pack, folder: Path, cluster: Cluster, plan: Plan, kept: int, features: int = 0
) -> Iterator[CheckPassed]:
    """Every check, as each is made. folder: of the run, which exists. features: bytes that kept ones will take.

    Raises UserError at the first that fails: pbt with several workers a trial, too few shards for the readers, or no
    room for the checkpoints.
    """
    if plan.workers > 1 and space.header.scheduler.name == "pbt":
        raise UserError("pbt hands weights from trial to trial, of one worker each: leave --workers-per-trial out")
    if address_of(folder) and carries_checkpoints(space):
        raise UserError("pbt hands weights from trial to trial in a folder: give a --runs that all machines share")
    yield CheckPassed("cluster", f"{cluster.cpus} CPUs, {cluster.gpus} GPUs; {plan.words}")
    readers = check_readers(pack, plan.workers, config.data.workers)
    yield CheckPassed("data", f"{len(pack.manifest.shards)} shards for {readers} reader{'s' * (readers > 1)} a trial")
    need = checkpoint_bytes(config, space) * (plan.at_once * (SPARE + 1) + kept) + features
    free = shutil.disk_usage(folder).free
    both = "checkpoints" + " and features" * bool(features)
    if need > free:
        raise UserError(
            f"{both} may take {decimal(need)}, and {folder} has {decimal(free)} free: free some, give "
            "another --runs, or keep fewer with --keep"
        )
    what = f"checkpoints of {kept} best and of running trials{', kept features' * bool(features)}"
    yield CheckPassed("disk", f"{what} up to {decimal(need)}, {decimal(free)} free")


def checkpoint_bytes(config: Config, space: Space) -> int:
    """Of the largest among the default model and a few drawn from the space: weights, and Adam's two moments."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    models = {config.model: config.train.ema > 0}
    for _ in range(DRAWN if any(key.startswith(("model.", "train.ema")) for key in space.parameters) else 0):
        drawn = config.with_overrides(space.suggest(study.ask()))
        models[drawn.model] = drawn.train.ema > 0
    return max(_bytes(model, averaged) for model, averaged in models.items())


def _bytes(config: ModelConfig, averaged: bool) -> int:
    with torch.device("meta"):
        model = PoseEstimator(config, pretrained=False)
    weights = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    trained = sum(value.numel() * 4 for value in model.parameters() if value.requires_grad)
    return weights * (1 + averaged) + 2 * trained
