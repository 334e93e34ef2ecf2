"""Parts of the model as torch.compile makes them: fewer and larger kernels, which is what a GPU wants.

Compiled are functions that several modules share (a decoder's layers are one program, with other weights), never a
module itself: copies and checkpoints know nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

import torch

F = TypeVar("F", bound=Callable[..., Any])
PROGRAMS = 64  # of one function: shapes of training, of validation and of the steps of generation
BACKEND = "inductor"


def compiled(function: F, wanted: bool) -> F:
    """`function` itself, or where that is wanted compiled: one program for each combination of shapes, and the same
    object every time it is asked for."""
    return cast(F, _compiled(function, BACKEND)) if wanted else function


@cache
def _compiled(function: Callable[..., Any], backend: str) -> Callable[..., Any]:
    torch._dynamo.config.recompile_limit = PROGRAMS
    return torch.compile(function, dynamic=False, backend=backend)


def programs() -> int:
    """How many programs were compiled in this process so far."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])
