"""On a GPU, bfloat16: images a second of training steps and of generation, against ResNet-50, and a step's profile."""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from harness import interleave, options, publish
from paper import paper_config, random_batch, resnet50

from capetune.models.estimator import PoseEstimator
from capetune.training.loop import train_step
from capetune.training.optim import make_optimizer, make_schedule

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
    optimizer = make_optimizer(model, config.train)
    schedule = make_schedule(optimizer, config.train, 100_000)
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

        def step(batch: Any = batch) -> None:
            train_step(model, [batch], optimizer, schedule, config)

        for name, work, base, mode in (
            ("gpu-step", step, plain, True),
            ("gpu-generate", lambda batch=batch: model.predict(batch), look, False),
        ):
            model.train(mode)
            floor.train(mode)
            seconds = interleave({"ResNet-50": finished(base), "ours": finished(work)}, arguments.rounds)
            facts = {"work": name, "batch": count, "size": config.data.size, "gpu": machine, "reach": {}}
            facts["images_a_second"] = {who: count / median(turns) for who, turns in seconds.items()}
            publish(f"{name}-{count}", seconds, "ResNet-50", facts, arguments.save)
    model.train()
    with torch.profiler.profile() as profile:
        finished(step)()
    print(profile.key_averages().table(sort_by="self_device_time_total", row_limit=12))


if __name__ == "__main__":
    main()
