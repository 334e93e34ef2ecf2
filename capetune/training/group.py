"""The process group in which a training's ranks exchange gradients and arrays. It listens where it must, no further."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import psutil
import torch
import torch.distributed as dist
from torch import nn

LOOPBACK = "127.0.0.1"
TIMEOUT = timedelta(minutes=30)  # for a collective: a rank may validate or write a checkpoint as long as that
DTYPES = (np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.int64), np.dtype(np.bool_))
AXES = 4
BUCKET = 25  # MiB of gradients that are sent at a time: six of the paper's model, while the backward pass goes on


@contextmanager
def process_group(
    rank: int, world: int, device: torch.device, address: str, share: Callable[[Any], Any]
) -> Iterator[None]:
    """Join the group of `world` ranks, NCCL's on GPUs and gloo's else; leave it in the end. A single rank needs none.

    address: of this machine, by which the other ranks reach it: LOOPBACK where all are on this one. On it rank 0's
    store listens, and nowhere else; so do gloo's and NCCL's sockets, unless GLOO_SOCKET_IFNAME or NCCL_SOCKET_IFNAME
    name another interface. None of them asks for a token. share: gives every rank what rank 0 gave it.
    """
    if world == 1:
        yield
        return
    interface = _interface(address)
    for library in ("GLOO", "NCCL"):
        if interface is not None:
            os.environ.setdefault(f"{library}_SOCKET_IFNAME", interface)
    if rank == 0:
        # A TCPStore that opens its own port does so on every interface.
        listener = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        port = listener.getsockname()[1]
        store = _store(address, port, world, listener.detach())
        share((address, port))
    else:
        where, port = share(None)
        store = _store(where, port, world)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo", store=store, rank=rank, world_size=world, timeout=TIMEOUT
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def exchange(model: nn.Module) -> dict[str, Any]:
    """How DistributedDataParallel exchanges this model's gradients, as its arguments. Buffers are sent round before
    each forward pass where BatchNorm changes them, and only there.

    No `static_graph`: it exchanges nothing of a model whose output is no tuple or dict, and doesn't say so.
    """
    changing = any(isinstance(module, nn.BatchNorm2d) and module.training for module in model.train().modules())
    return {
        "bucket_cap_mb": BUCKET,
        "gradient_as_bucket_view": True,  # a copy less, and as much memory as the gradients take
        "forward_sync_buffers": changing,
    }


def gather(array: np.ndarray, device: torch.device) -> list[np.ndarray]:
    """Every rank's array, in the order of ranks: of any lengths, at most AXES axes and one of DTYPES.

    They travel as bytes. What `all_gather_object` would unpickle is code to whoever gets into the group.
    """
    world = dist.get_world_size() if dist.is_initialized() else 1
    if world == 1:
        return [array]
    assert array.ndim <= AXES, "more axes than the header has room for"
    head = torch.tensor(
        [DTYPES.index(array.dtype), array.ndim, *array.shape, *[0] * (AXES - array.ndim)], device=device
    )
    heads = [torch.empty_like(head) for _ in range(world)]
    dist.all_gather(heads, head)
    forms = [_form(each.tolist()) for each in heads]
    longest = max(dtype.itemsize * int(np.prod(shape)) for dtype, shape in forms)
    sent = torch.zeros(longest, dtype=torch.uint8)
    sent[: array.nbytes] = torch.from_numpy(np.frombuffer(array.tobytes(), np.uint8).copy())
    sent = sent.to(device)
    got = [torch.empty_like(sent) for _ in range(world)]
    dist.all_gather(got, sent)
    return [
        np.frombuffer(data.cpu().numpy().tobytes(), dtype, int(np.prod(shape))).reshape(shape).copy()
        for (dtype, shape), data in zip(forms, got, strict=True)
    ]


def _form(head: list[int]) -> tuple[np.dtype, tuple[int, ...]]:
    kind, axes, *shape = head
    return DTYPES[kind], tuple(shape[:axes])


def _store(address: str, port: int, world: int, listening: int | None = None) -> dist.TCPStore:
    """listening: the descriptor of rank 0's socket, which the store takes over."""
    return dist.TCPStore(
        address,
        port,
        world,
        listening is not None,
        TIMEOUT,
        wait_for_workers=False,  # it would wait before the others have heard of it
        master_listen_fd=listening,
    )


def _interface(address: str) -> str | None:
    """The name of the network interface that has the address."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(entry.address.split("%")[0] == address for entry in addresses):
            return name
    return None
