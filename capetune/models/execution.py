"""How a GPU runs the model: as it is written, replayed as CUDA graphs, or compiled and replayed."""

from __future__ import annotations

from typing import NamedTuple

import torch

from capetune.cluster.processors import usable_cpus
from capetune.config import ModelConfig

# Poses are padded to these numbers of keypoints, so that few shapes are captured and compiled. MP-100's categories have
# 8 to 68, most of them 17 or fewer.
SIZES = (8, 17, 32, 68, 100)
PAYS = 5000  # steps of a training: compiling took 52 s and saved 15 ms a step on an H200 (docs/gpu.md)


class Way(NamedTuple):
    """compiled: by torch.compile. captured: replayed as CUDA graphs (`models.captured`). Neither: as it is written."""

    compiled: bool = False
    captured: bool = False

    @property
    def shaped(self) -> bool:
        """Whether every new shape costs something, so that batches had better be padded to few."""
        return self.compiled or self.captured


def way(config: ModelConfig, device: torch.device | str, steps: int = 0) -> Way:
    """What `model.execution` means on a device; steps: of the training that compiling would pay for, if any.

    auto: a CPU runs the model as it is written; a GPU replays it, compiled where a training is long enough.
    """
    gpu, how = torch.device(device).type == "cuda", config.execution
    return Way(how == "compiled" or (how == "auto" and gpu and steps >= PAYS), gpu and how != "eager")


def usual_device(cpus: int | None = None) -> str:
    """A GPU where this process has one. PyTorch's threads are from now on as many as the given CPUs; None: not more
    than this process may use, for PyTorch knows of no container's quota."""
    torch.set_num_threads(cpus or min(torch.get_num_threads(), usable_cpus()))
    return "cuda" if torch.cuda.is_available() else "cpu"


def padded_size(keypoints: int) -> int:
    """The number of keypoints that a pose is padded to where shapes are to be few."""
    return next((size for size in SIZES if size >= keypoints), -(-keypoints // 32) * 32)


def prepare(device: torch.device | str) -> None:
    """Let a GPU use its tensor cores for float32's products as well (TF32), and cuDNN look for the fastest ways."""
    if torch.device(device).type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
