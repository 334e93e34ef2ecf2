"""Ray Train's side of training: what runs in each worker."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.exceptions import RayActorError
from ray.train.backend import Backend, BackendConfig
from ray.train.collective import broadcast_from_rank_zero
from ray.train.v2._internal.execution.callback import ControllerCallback
from ray.train.v2._internal.execution.scaling_policy.fixed import FixedScalingPolicy
from ray.train.v2._internal.execution.worker_group import WorkerGroup

from capetune.config import Config
from capetune.errors import Diverged, UserError

if TYPE_CHECKING:
    from capetune.runs.desk import Bench
    from capetune.training.loop import Metrics, Save

# Torch and timm take most of a training's first seconds: they are imported where a worker trains, for Train's
# controller imports this file too, and before any worker starts.


class _SharedDevices(Backend):
    share_cuda_visible_devices = True


class SharedDevices(BackendConfig):
    """Every worker sees the GPUs of all workers on its machine, as NCCL likes it. The process group is our own."""

    @property
    def backend_cls(self) -> type[Backend]:
        return _SharedDevices


class FixedHere(FixedScalingPolicy):
    """As many workers as asked for, without a word of it to the process that tells Ray's autoscaler: a session of our
    own has none, and that process would take a second of a core."""

    def after_controller_start(self, train_run_context: Any) -> None:
        pass

    def _maybe_send_resource_request(self) -> None:
        pass


class WorkersNamed(ControllerCallback):
    """Ray's dashboard shows workers as those of `title`. There is no setting: in the process that starts them, before
    it does, their class is replaced by one with a name for itself."""

    def __init__(self, title: str) -> None:
        self.title = title

    def after_controller_start(self, train_run_context: Any) -> None:
        title, private = self.title, WorkerGroup
        before: Any = private._worker_cls

        class RayTrainWorker(before):
            def __repr__(self) -> str:
                return f"worker of {title}"

        RayTrainWorker.__qualname__ = RayTrainWorker.__name__
        private._worker_cls = RayTrainWorker


def train_worker(settings: dict[str, Any]) -> None:
    """The `train_loop_per_worker` of a TorchTrainer.

    settings: config (a dict), pack and folder (of the data and of the training), run and lease (as `runs.desk.at_bench`
    takes them), names (of the run and of its trial, by which the metrics are told apart), workers (how many the
    configuration's batch is for), threads (for torch on a CPU), start (a checkpoint's folder to begin with, or None),
    afresh (whether only with its weights), features (a folder of kept ones, or None), keep (the metric and mode by
    which the best checkpoint is kept), profile (whether rank 0 traces some steps, by a `Tracer`), ledger (whether the
    ids of every step are noted), events (a ray queue; rank 0 puts {"epoch", "step", "steps"} twice a second,
    {"metrics"} after each epoch, {"doubt"}, a line, {"traced"}, what its tracer says, and {"stale"}, for how many
    epochs it got no better, where that ends it; any rank {"error", "kind"}, a line and the name of its class, where it
    finds the input bad). Rank 0 keeps checkpoints and history in the folder: from there a training goes on, however it
    was ended.
    """
    import ray.train

    from capetune.runs.desk import at_bench
    from capetune.storage.scratch import named

    rank = ray.train.get_context().get_world_rank()
    try:
        with at_bench(settings["folder"], settings["run"], settings["lease"], sends=rank == 0) as bench:
            try:
                _train(settings, bench)
            except UserError as error:
                error.args = (f"{error}{_last_good(error, bench.folder)}",)
                raise
    except UserError as error:
        _put(settings["events"], {"error": named(str(error)), "kind": type(error).__name__})
        raise


def _last_good(error: UserError, folder: Path) -> str:
    from capetune.runs.checkpoints import latest_checkpoint

    found = latest_checkpoint(folder) if isinstance(error, Diverged) else None
    return "" if found is None else f"; the last good checkpoint is {found[0]}"


def _train(settings: dict[str, Any], bench: Bench) -> None:
    import ray.train.torch
    import torch

    from capetune.cluster.gauges import metered
    from capetune.datasets.packs.reader import open_pack
    from capetune.runs.checkpoints import resume_point
    from capetune.runs.copy import bring
    from capetune.runs.desk import late
    from capetune.runs.home import at_home
    from capetune.runs.ledger import Ledger
    from capetune.runs.record import TRACE
    from capetune.training.features import open_features
    from capetune.training.group import LOOPBACK, exchange, gather, process_group
    from capetune.training.loop import fit
    from capetune.training.pace import Pace
    from capetune.training.patience import Patience
    from capetune.training.ranks import Ranks
    from capetune.training.share import shared, step_size
    from capetune.training.tensorboard import scalars
    from capetune.training.trace import Tracer
    from capetune.training.under_way import UnderWay

    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(settings["threads"])
    else:
        torch.cuda.set_device(device)
    config = Config.model_validate(settings["config"])
    events, folder = settings["events"], bench.folder
    run, trial = settings["names"]
    said, begun = 0.0, time.monotonic()
    tracer = None
    if settings["profile"] and rank == 0:
        tracer = Tracer(folder / TRACE, lambda *steps: _put(events, {"traced": steps}))

    def progress(epoch: int, steps: int, step: int) -> None:
        nonlocal said
        meter.step(epoch, steps, step)
        if tracer is not None:
            tracer.step(epoch, steps, step)
        if rank == 0 and (time.monotonic() - said > 0.5 or step == steps):
            said = time.monotonic()
            _put(events, {"epoch": epoch, "step": step, "steps": steps})

    def report(metrics: Metrics, save: Save) -> None:
        nonlocal begun
        metrics["seconds"] = time.monotonic() - begun
        meter.epoch(metrics)
        trouble = None
        if rank == 0:
            _, trouble = bench.keep_epoch(metrics, save, write, *settings["keep"])
            if settings["folder"] != settings["run"]:  # a trial's: its search may end it when it hears of the epoch
                trouble = bench.sent() or trouble
        ray.train.report(metrics)  # without the checkpoint: whoever goes on finds it in the folder
        begun = time.monotonic()
        if rank == 0:
            _put(events, {"metrics": metrics} | ({} if trouble is None else {"doubt": late(trouble)}))

    def keep(save: Callable[[Path], None], epoch: int, step: int, leaving: bool) -> None:
        if rank:
            return
        trouble = bench.keep_under_way(save)
        if trouble is not None:
            _put(events, {"doubt": late(trouble)})
        elif leaving:
            _put(events, {"doubt": f"a machine is about to go: epoch {epoch} is kept as it is after step {step}"})

    def doubt(line: str) -> None:
        if rank == 0:
            _put(events, {"doubt": line})

    ranks = Ranks(
        rank,
        world,
        str(device),
        settings["threads"],
        settings["workers"],
        lambda model: ray.train.torch.prepare_model(model, False, parallel_strategy_kwargs=exchange(model)),
        lambda array: gather(array, device),
    )
    mine = shared(config, world, settings["workers"])
    if rank == 0:
        batch = step_size(mine, world)
        _put(events, {"workers": world, "batch": batch, "asked": step_size(config, settings["workers"])})
    # Of this training, where Ray has started its workers anew or an earlier run was interrupted.
    start = resume_point(folder, mend=rank == 0)
    pack = open_pack(settings["pack"])
    features = None if settings["features"] is None else open_features(Path(settings["features"]))
    alone = context.get_local_world_size() == world
    address = LOOPBACK if alone else ray.util.get_node_ip_address()
    with (
        ExitStack() as copies,
        process_group(rank, world, device, address, broadcast_from_rank_zero),
        scalars(folder) if rank == 0 else nullcontext(lambda metrics: None) as write,
        metered(run, trial, rank, step_size(mine, 1), str(device)) as meter,
    ):
        weights = None
        if start is None and settings["start"]:
            start = copies.enter_context(at_home(settings["start"]))
            bring(start, wanted=lambda name: True)
            if settings["afresh"]:
                start, weights = None, start
        due = Pace(config.train.save_minutes, ranks).due
        under_way = UnderWay(folder, due, _leaving if rank == 0 else frozenset, keep)
        ledger = Ledger(folder, rank, ranks.gather) if settings["ledger"] else None
        patience = Patience(config.train.patience, *settings["keep"])
        fit(config, pack, report, ranks, start, progress, features, under_way, doubt, ledger, weights, patience)
        if rank == 0 and patience.spent:
            _put(events, {"stale": patience.stale})


def _leaving() -> frozenset[str]:
    """The ids of those machines of this training that Ray was told are about to go. Its own `get_preemption_info` is a
    barrier of all ranks, too dear for every step."""
    from ray.train.v2._internal.execution.context import get_train_context

    info = get_train_context().preemption_context.preemption_info
    return frozenset() if info is None else frozenset(info.preempted_node_ids)


def _put(events: Any, event: dict[str, Any]) -> None:
    """The queue's node may be lost: then nothing is shown, but the training goes on and its history is on the disk."""
    with suppress(RayActorError):
        events.put(event)
