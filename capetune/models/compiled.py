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
    torch._dynamo.utils.set_compilation_metrics_limit(100 * PROGRAMS)  # it forgets what is more than 64
    return torch.compile(function, dynamic=False, backend=backend)


def programs() -> int:
    """How many programs were compiled in this process so far."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def compiled_again() -> list[str]:
    """Why programs of functions that had one already were compiled, or should have been, since this was last asked in
    this process: of each what was different."""
    utils = torch._dynamo.utils
    reasons = [entry.recompile_reason for entry in utils.get_compilation_metrics()]
    utils.clear_compilation_metrics()
    # "0/1: tensor 'x' size mismatch at index 0. expected 3, actual 4": which program of which function goes first.
    return [reason.partition(": ")[2] for reason in reasons if reason]


def compiled_again_line(epoch: int, reasons: list[str]) -> str:
    """What is to be said of it, with the cure. reasons: from `compiled_again`."""
    times = f"{len(reasons)} time{'s' * (len(reasons) > 1)}"
    why = f"in epoch {epoch} still, parts of the model were compiled again, {times}, last since {reasons[-1]}"
    return f"{why}; --set model.execution=captured compiles nothing"


def make_room(most: int = PROGRAMS // 2) -> None:
    """Give up all programs of this process where there are `most` or more: with PROGRAMS of a function its further
    shapes would be run as written. For a process between two trainings."""
    global _given_up
    if programs() - _given_up >= most:
        torch._dynamo.reset()
        _given_up = programs()


_given_up = 0  # programs
