"""How a GPU runs the model: as it is written, compiled, or compiled and replayed as CUDA graphs."""

from __future__ import annotations

from typing import Literal

import torch

from capetune.config import ModelConfig

Execution = Literal["eager", "compiled", "captured"]
# Poses are padded to these numbers of keypoints, so that few shapes are compiled and captured. MP-100's categories have
# 8 to 68, most of them 17 or fewer.
SIZES = (8, 17, 32, 68, 100)


def execution(config: ModelConfig, device: torch.device | str, world: int = 1) -> Execution:
    """What `model.execution` means on a device, in a training of `world` workers: auto is as it is written on a CPU,
    captured on a GPU; what several workers exchange among them isn't captured."""
    gpu = torch.device(device).type == "cuda"
    how = config.execution
    if how == "auto":
        how = "captured" if gpu else "eager"
    return "compiled" if how == "captured" and (world > 1 or not gpu) else how


def padded_size(keypoints: int) -> int:
    """The number of keypoints that a pose is padded to where it is compiled."""
    return next((size for size in SIZES if size >= keypoints), -(-keypoints // 32) * 32)


def prepare(device: torch.device | str) -> None:
    """Let a GPU use its tensor cores for float32's products as well (TF32), and cuDNN look for the fastest ways."""
    if torch.device(device).type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
