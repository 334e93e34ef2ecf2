"""Batches on their way to the device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from capetune.models.backbone import Maps
from capetune.models.execution import padded_size
from capetune.pose import Batch


def feed(
    batches: Iterable[tuple[Batch, Maps]], device: torch.device | str, padded: bool
) -> Iterator[tuple[Batch, Maps]]:
    """Batches and maps on the device; `padded` to few numbers of keypoints.

    A GPU copies on a stream of its own, while it still works on the step before; from pinned memory nobody waits.
    """
    gpu = torch.device(device).type == "cuda"
    copies = torch.cuda.Stream(device) if gpu else None
    for batch, maps in batches:
        if padded:
            batch = batch.padded(len(batch), padded_size(batch.joints.shape[1]))
        with torch.cuda.stream(copies):
            there = batch.to(device), tuple(seen.to(device, non_blocking=True) for seen in maps)
        if copies is not None:
            now = torch.cuda.current_stream(copies.device)
            now.wait_stream(copies)
            for tensor in (*there[0].tensors(), *there[1]):
                tensor.record_stream(now)
        yield there
