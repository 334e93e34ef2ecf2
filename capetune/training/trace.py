"""A trace of a few steps, as Chrome's tracing and Perfetto show it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch

STEPS = 3


class Tracer:
    """Traces some steps of the first epoch that it hears of: the third to the fifth, or, where that has fewer steps
    left, as many of its last ones as there are but for the first."""

    def __init__(self, file: Path, say: Callable[[int, int, int], None]) -> None:
        """file: what is written, ending in .json or .json.gz. say: hears the epoch and the first and last step that
        were traced; step 0 where the epoch had too few."""
        self._file, self._say = file, say
        self._profile: torch.profiler.profile | None = None
        self._first = self._last = 0
        self._over = False

    def step(self, epoch: int, steps: int, step: int) -> None:
        """After every training step, on the thread that trains; `training.loop.fit` calls its `progress` so."""
        if self._over:
            return
        if self._profile is None:
            self._begin(epoch, steps, step)
            return
        self._profile.step()
        if step == self._last:
            self._profile.stop()
            self._end(epoch)

    def _begin(self, epoch: int, steps: int, step: int) -> None:
        warm = int(steps - step > STEPS)  # the profiler's own beginning is traced by none
        self._first, self._last = step + 1 + warm, min(step + warm + STEPS, steps)
        if self._first > steps:
            self._first = self._last = 0
            self._end(epoch)
            return
        kinds = [torch.profiler.ProfilerActivity.CPU]
        kinds += [torch.profiler.ProfilerActivity.CUDA] * torch.cuda.is_available()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has no warm-up
            plan = torch.profiler.schedule(wait=0, warmup=warm, active=self._last - self._first + 1, repeat=1)
            self._profile = torch.profiler.profile(
                activities=kinds, schedule=plan, record_shapes=True, on_trace_ready=self._write
            )
            self._profile.start()

    def _write(self, profile: torch.profiler.profile) -> None:
        aside = self._file.with_name(f".{self._file.name}")
        profile.export_chrome_trace(str(aside))
        aside.replace(self._file)

    def _end(self, epoch: int) -> None:
        self._over, self._profile = True, None
        self._say(epoch, self._first, self._last)
