"""On a GPU: images a second of training steps and of generation in bfloat16, against ResNet-50; bfloat16's step against
float32's; a step's profile; and `tiny` for 300 steps."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from harness import interleave, options, publish, record
from paper import paper_config, random_batch, resnet50

from capetune.config import Config, load_config
from capetune.datasets.builtin import open_data
from capetune.datasets.episodes.stream import train_batches
from capetune.models.estimator import PoseEstimator
from capetune.pose import Batch
from capetune.training.optim import make_optimizer, make_schedule
from capetune.training.step import train_step

COUNTS = (32, 64)


def finished(work: Callable[[], Any]) -> Callable[[], None]:
    """The same, waiting for the GPU: kernels are only queued when a call returns."""

    def run() -> None:
        work()
        torch.cuda.synchronize()

    return run


def main() -> None:
    arguments = options(__doc__, rounds=20)
    if not torch.cuda.is_available():
        sys.exit("error: there is no GPU here; `make bench` measures on the CPU")
    machine = torch.cuda.get_device_name()
    config = paper_config(["model.backbone.precision=bfloat16"])
    model, floor = PoseEstimator(config.model).cuda(), resnet50().cuda()
    train = trainer(model, config)
    float32 = trainer(PoseEstimator(paper_config().model).cuda().train(), paper_config())
    for count in COUNTS:
        batch = random_batch(config.data.size, count).to("cuda")
        pixels = batch.images.float().contiguous(memory_format=torch.channels_last)

        def plain(pixels: torch.Tensor = pixels) -> None:
            floor.zero_grad(set_to_none=True)
            with torch.autocast("cuda", torch.bfloat16):
                loss = floor(pixels).sum()
            loss.backward()

        def look(pixels: torch.Tensor = pixels) -> None:
            with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
                floor(pixels)

        step = partial(train, batch)
        for name, work, base, mode in (
            ("gpu-step", step, plain, True),
            ("gpu-precision", step, partial(float32, batch), True),
            ("gpu-generate", lambda batch=batch: model.predict(batch), look, False),
        ):
            model.train(mode)
            floor.train(mode)
            floor_name = "float32" if name == "gpu-precision" else "ResNet-50"
            seconds = interleave({floor_name: finished(base), "ours": finished(work)}, arguments.rounds)
            facts = {"work": name, "batch": count, "size": config.data.size, "gpu": machine, "reach": {}}
            facts["images_a_second"] = {who: count / median(turns) for who, turns in seconds.items()}
            publish(f"{name}-{count}", seconds, floor_name, facts, arguments.save)
    model.train()
    with torch.profiler.profile() as profile:
        finished(step)()
    print(profile.key_averages().table(sort_by="self_device_time_total", row_limit=12))
    record("gpu-tiny", {"work": "tiny, 300 steps", "gpu": machine} | tiny("cuda", 300), arguments.save)


def trainer(model: PoseEstimator, config: Config) -> Callable[[Batch], object]:
    """A function that makes one training step."""
    optimizer = make_optimizer(model, config.train)
    schedule = make_schedule(optimizer, config.train, 100_000)
    return lambda batch: train_step(model, [batch], optimizer, schedule, config)


def tiny(device: str, steps: int) -> dict[str, Any]:
    """Train the preset on the built-in data, enlarged to its 512 px, from random weights. Loss of the first and of the
    last tenth of the steps, and images a second with loading."""
    config = load_config("tiny", None, ["model.backbone.weights=none", "model.backbone.precision=bfloat16"])
    model = PoseEstimator(config.model).to(device).train()
    optimizer = make_optimizer(model, config.train)
    schedule = make_schedule(optimizer, config.train, steps)
    data = open_data("synthetic", print)
    losses, begun = [], time.monotonic()
    for batch in train_batches(data, config.data, config.train.batch_size, config.seed, 1, steps=steps):
        losses.append(train_step(model, [batch.to(device)], optimizer, schedule, config)["loss"])
    curve = torch.stack(losses).tolist()
    seconds, tenth = time.monotonic() - begun, max(1, steps // 10)
    ends = {"first": sum(curve[:tenth]) / tenth, "last": sum(curve[-tenth:]) / tenth}
    return {"loss": ends, "images_a_second": steps * config.train.batch_size / seconds, "seconds": seconds}


if __name__ == "__main__":
    main()
