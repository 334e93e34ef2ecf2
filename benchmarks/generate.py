"""Generation of 17 keypoints, image to points, against a plain ResNet-50 forward of the same batch.

The floor keeps its freed memory as ours does; what it takes without that is a row of its own.
"""

from __future__ import annotations

from functools import partial

import torch
from harness import interleave, options, publish, usual
from paper import paper_config, random_batch, resnet50

from capetune.models.estimator import PoseEstimator


@torch.no_grad()
def main() -> None:
    arguments = options(__doc__, rounds=7)
    models = {
        "paper format": PoseEstimator(paper_config().model).eval(),
        "one token a keypoint": PoseEstimator(paper_config(["model.sequence=point"]).model).eval(),
    }
    floor = resnet50().eval()
    size = paper_config().data.size
    for count, reach in ((4, {"paper format": 1.5, "one token a keypoint": 1.25}), (1, {"paper format": 2.0})):
        batch = random_batch(size, count)
        pixels = batch.images.float().contiguous(memory_format=torch.channels_last)
        look = partial(floor, pixels)
        work = {"ResNet-50 forward": look, "the same in plain PyTorch": usual(look)}
        work |= {name: lambda model=model, batch=batch: model.predict(batch) for name, model in models.items()}
        seconds = interleave(work, arguments.rounds * 4 // count)
        facts = {"work": "17 keypoints, float32", "batch": count, "size": size, "reach": reach}
        publish(f"generate-{count}", seconds, "ResNet-50 forward", facts, arguments.save)


if __name__ == "__main__":
    main()
