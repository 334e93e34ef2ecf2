"""A function of tensors replayed as CUDA graphs: its thousands of kernels start without Python's help.

Decoding a pose takes thousands of small kernels, and Python needs longer to queue one than the GPU to run it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

R = TypeVar("R")
AS_WRITTEN = 2  # calls before a combination of shapes is captured: compilers and cuDNN make up their minds


class Captured(Generic[R]):
    """`function(tensors)`, run as it is the first times it sees a combination of shapes, replayed after that.

    What it reads beside `tensors` (weights, moments) must stay where it is and may change its values; what it does in
    Python is done while it runs as it is and is captured, and never again. What it returns is overwritten by the next
    call. Results are those of the function itself. It must not wait for the GPU.
    """

    def __init__(self, function: Callable[[Sequence[Tensor]], R]) -> None:
        self._function = function
        self._calls: dict[object, int] = {}
        self._kept: dict[object, tuple[torch.cuda.CUDAGraph, list[Tensor], R]] = {}
        self._stream: torch.cuda.Stream | None = None
        self._pool: Any = None

    def __call__(self, tensors: Sequence[Tensor]) -> R:
        """tensors: on one GPU."""
        key = tuple((tensor.shape, tensor.dtype) for tensor in tensors)
        if key not in self._kept:
            calls = self._calls.get(key, 0)
            self._calls[key] = calls + 1
            if calls < AS_WRITTEN:
                return self._aside(tensors)
            self._kept[key] = self._capture(tensors)
        graph, inputs, outcome = self._kept[key]
        torch._foreach_copy_(inputs, list(tensors), non_blocking=True)
        graph.replay()
        return outcome

    def __len__(self) -> int:
        """How many graphs there are."""
        return len(self._kept)

    def _aside(self, tensors: Sequence[Tensor]) -> R:
        """On the stream on which it will be captured: autograd stays on the one it first ran on."""
        if self._stream is None:
            self._stream, self._pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()
        before = torch.cuda.current_stream()
        self._stream.wait_stream(before)
        with torch.cuda.stream(self._stream):
            outcome = self._function(tensors)
        before.wait_stream(self._stream)
        return outcome

    def _capture(self, tensors: Sequence[Tensor]) -> tuple[torch.cuda.CUDAGraph, list[Tensor], R]:
        inputs = [tensor.clone() for tensor in tensors]
        graph = torch.cuda.CUDAGraph()
        # Other threads may ask for memory meanwhile: a loader's pins what it fetched.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            outcome = self._function(inputs)
        return graph, inputs, outcome
