"""How much of a GPU's memory a search's trials take, and so how many of them may share one (decision 020)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import ray
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from capetune.cluster.machines import Cluster
from capetune.config import Config, config_value
from capetune.datasets.packs.reader import Pack
from capetune.evaluation.model import answered, pairs_at_once
from capetune.models.backbone import Maps
from capetune.models.captured import AS_WRITTEN, Captured
from capetune.models.estimator import Answer, PoseEstimator
from capetune.models.execution import padded_size
from capetune.pose import Batch
from capetune.training.loop import average
from capetune.training.memory import gib, ran_out
from capetune.training.optim import make_optimizer, make_schedule
from capetune.training.step import CapturedStep, Learn, Losses, train_step
from capetune.tuning.space import Space

MARGIN = 1.1  # of what was measured: blocks lie otherwise when shapes come in another order
NAME = "model.backbone.name"

# Of each key that memory depends on: the greater, the more its value takes.
COSTS: dict[str, Callable[[Any], float]] = {
    **dict.fromkeys(("model.vocabulary", "model.width", "model.decoder.layers", "model.decoder.points"), float),
    **dict.fromkeys(("model.support.layers", "model.support_at_step", "model.refine", "model.dropout"), float),
    **dict.fromkeys(("data.size", "train.batch_size", "train.accumulate", "train.ema"), float),
    "model.sequence": ("point", "xy").index,
    "model.backbone.stride": (32, 16, 8, "pyramid").index,
    "model.backbone.frozen": lambda stages: -torch.inf if stages == "all" else -float(stages),
    "model.backbone.precision": ("bfloat16", "auto", "float32").index,
}


@dataclass(frozen=True)
class Reading:
    """Bytes of a GPU's memory. total: what it has. held: the most that a process held of it for its tensors and graphs.
    beside: what is taken besides, by CUDA for the process itself and by whoever else is on the GPU."""

    total: int
    held: int
    beside: int


Read = Callable[[], Reading]


def read_gpu() -> Reading:
    """Of this process's GPU, since it began."""
    free, total = torch.cuda.mem_get_info()
    return Reading(total, torch.cuda.max_memory_reserved(), total - free - torch.cuda.memory_reserved())


@dataclass(frozen=True)
class Share:
    """per_gpu: trials that may share a GPU. aside: the part of its memory that each takes beside its tensors. words:
    how that was found."""

    per_gpu: int
    aside: float
    words: str


def share_gpus(
    config: Config, space: Space, pack: Pack, cluster: Cluster, most: int, kept: bool, read: Read = read_gpu
) -> Share:
    """How many trials of the space may share a GPU, found by trying its largest configurations out in a process on one
    of the cluster's, for which it waits. most: trials that are run at once. kept: whether they train on kept features.

    Every trial is to have a CPU, and its part of the memory hold MARGIN times what was measured.
    """
    tried = ray.remote(num_cpus=1, num_gpus=1, max_calls=1, max_retries=0)(_tried)
    parts = [pack.part(config.data.split, part) for part in ("train", "val")]
    sizes = sorted({padded_size(category.graph.size) for part in parts for category in part.categories})
    configs = largest(config, space)
    found = [ray.get(tried.remote(each, sizes, kept, read)) for each in configs]
    at = ", ".join(f"{key}={config_value(configs[0], key)}" for key in space.parameters if key in COSTS)
    what = f"the largest model of the space{f' ({at})' * bool(at)}"
    return share_of(found, cluster, most, what)


def share_of(found: Sequence[Reading | str], cluster: Cluster, most: int, what: str) -> Share:
    """found: of the largest configurations what was read, or why nothing could be. what: their name."""
    readings = [reading for reading in found if isinstance(reading, Reading)]
    if len(readings) < len(found):
        return Share(1, 0.0, f"{what} {next(why for why in found if isinstance(why, str))}: no trials share a GPU")
    worst = max(readings, key=lambda reading: reading.held)
    cpus = min(cpus // gpus for cpus, gpus in cluster.machines if gpus)
    fit = int(worst.total // (MARGIN * worst.held + worst.beside))
    per_gpu = max(1, min(fit, cpus, -(-most // cluster.gpus)))
    part = worst.total / per_gpu - worst.beside
    why = (
        ""
        if per_gpu >= fit
        else f", for there are {'CPUs for no more' if per_gpu == max(1, cpus) else 'no more trials'}"
    )
    took = f"{what} held {gib(worst.held)} of a GPU's {gib(worst.total)}, and {gib(worst.beside)} beside"
    if per_gpu == 1:
        return Share(1, 0.0, f"{took}: no trials share one{why}")
    aside = worst.beside / worst.total
    return Share(per_gpu, aside, f"{took}: {per_gpu} trials share one{why}, each within {gib(part)}")


def largest(config: Config, space: Space) -> list[Config]:
    """The configurations of the space that take most memory: one for each of its backbones, of which nobody can tell
    beforehand which that is."""
    ranges = {key: _ends(parameter.distribution) for key, parameter in space.parameters.items()}
    most = {key: max(values, key=COSTS[key]) for key, values in ranges.items() if key in COSTS}
    return [config.with_overrides({**most, NAME: name}) for name in ranges.get(NAME, [config.model.backbone.name])]


def try_out(config: Config, sizes: Sequence[int], kept: bool, device: str, read: Read) -> Reading | str:
    """What is read after training steps and a batch of validation of each number of keypoints, run as a trial runs
    them: on a GPU until they are captured. Nothing is learnt: the batches are blank. Or why nothing can be read."""
    try:
        _run(config, sizes, kept, device)
        return read()
    except RuntimeError as error:
        if not ran_out(error):
            raise
        return "needs more memory than there is"


def blank(count: int, keypoints: int, size: int) -> Batch:
    """A batch in which nothing is to be seen and every keypoint counts. size: of its images, pixels."""
    all_there = torch.ones(count, keypoints, dtype=torch.bool)
    places = torch.full((count, keypoints, 2), 0.5)
    return Batch(
        images=torch.zeros(count, 3, size, size, dtype=torch.uint8),
        template=places,
        template_known=all_there,
        adjacency=torch.zeros(count, keypoints, keypoints, dtype=torch.bool),
        joints=all_there,
        target=places,
        visible=all_there,
        to_source=torch.zeros(count, 2, 3, dtype=torch.float64),
        side=torch.ones(count, dtype=torch.float64),
        ids=torch.arange(count),
    )


def looking(batch: Batch, shots: int, channels: int) -> Batch:
    """A blank batch with so many supports, all to be seen. channels: of how they look; 0: their images are given."""
    lead, images = (len(batch), shots, batch.joints.shape[1]), batch.images.unsqueeze(1)
    seen = {"support_visible": torch.ones(lead, dtype=torch.bool), "support_looks": torch.zeros(*lead, channels)}
    if channels:
        return replace(batch, **seen)
    places = torch.full((*lead, 2), 0.5)
    return replace(batch, **seen, support_xy=places, support_images=images.repeat(1, shots, 1, 1, 1))


def _tried(config: Config, sizes: Sequence[int], kept: bool, read: Read) -> Reading | str:
    there = torch.cuda.is_available()
    if read is read_gpu and not there:
        return "can't be measured, for Ray counts a GPU where PyTorch sees none"
    return try_out(config, sizes, kept, "cuda" if there else "cpu", read)


def _run(config: Config, sizes: Sequence[int], kept: bool, device: str) -> None:
    settings, side = config.train, config.data.size
    model = PoseEstimator(config.model, pretrained=False).settle(device)
    averaged = average(model, settings.ema)
    optimizer = make_optimizer(model, settings)
    schedule = make_schedule(optimizer, settings, 100)
    judged = model if averaged is None else cast(PoseEstimator, averaged.module)
    answer: Callable[[Sequence[torch.Tensor]], Answer] = partial(answered, judged, config.loss)

    def as_written(group: Sequence[Batch], maps: Sequence[Maps]) -> Losses:
        return train_step(model, group, optimizer, schedule, config, maps)

    learn: Learn = as_written
    if model.way.captured:
        learn, answer = CapturedStep(model, optimizer, schedule, config), Captured(answer)
    with torch.no_grad():
        kinds = model.backbone.features(blank(1, 1, side).to(device).images) if kept else ()

    def maps_of(count: int) -> Maps:
        return tuple(seen.half().expand(count, -1, -1, -1).contiguous() for seen in kinds)

    for keypoints in sizes:
        batch = blank(settings.batch_size, keypoints, 0 if kept else side)
        pairs = blank(pairs_at_once(side), keypoints, 0 if kept else side)
        if config.model.support.looks:
            channels, shots = sum(model.backbone.net.channels), max(map(int, config.data.shots))
            batch, pairs = looking(batch, 1 if kept else shots, channels * kept), looking(pairs, 1, channels)
        batch, pairs = batch.to(device), pairs.to(device)
        maps = [maps_of(len(batch))] * settings.accumulate if kept else []
        for _ in range(AS_WRITTEN + 1):
            model.train()
            learn([batch] * settings.accumulate, maps)
            judged.eval()
            with torch.inference_mode():
                seen = judged.backbone.embed(maps_of(len(pairs))) if kept else judged.backbone(pairs.images)
                answer([*pairs.tensors(), *seen])


def _ends(kind: BaseDistribution) -> Sequence[Any]:
    if isinstance(kind, CategoricalDistribution):
        return kind.choices
    assert isinstance(kind, IntDistribution | FloatDistribution)
    return (kind.low, kind.high)
